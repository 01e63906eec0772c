"""Passwords as the gateway stores them: bare argon2id strings. They are read here, and never written.

Those of `createsuperuser` are Django's own, hashed with the same parameters.
"""

import contextlib
import re

import argon2
from django.contrib.auth.hashers import Argon2PasswordHasher

MAX_LENGTH = 4096

# A hash names its own price. What costs far more than the gateway's is no hash of the gateway's.
MAX_MEMORY_KIB = 2**18
MAX_PASSES = MAX_LANES = 16

_ENCODED = re.compile(
    r"\$argon2id\$v=19\$(?P<parameters>[mtp]=\d{1,7}(?:,[mtp]=\d{1,7}){2})"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,64})\$(?P<digest>[A-Za-z0-9+/]{16,128})"
)

# Of a password that nobody knows, with the gateway's parameters.
_NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$mUuPMS3qi4XqDMSzQ0vJ1LJ9MbQVkxYBpHmDRdGP0tA"

# What Django writes before a hash of its own.
DJANGO_PREFIX = "argon2"

_hasher = argon2.PasswordHasher()


def is_correct(password: str, *, stored: str | None) -> bool:
    """Tell whether the password is the one whose hash is stored.

    Where nothing is stored, or nothing that can be read, the answer is no, after about as long as any other.
    """
    secret = password.encode() if is_possible(password) else b""
    encoded = _in_order(stored or "")
    if encoded is not None and is_possible(password):
        try:
            return _hasher.verify(encoded, secret)
        except argon2.exceptions.VerifyMismatchError:
            return False
        except argon2.exceptions.VerificationError:
            pass  # argon2 could not read it after all
    with contextlib.suppress(argon2.exceptions.VerifyMismatchError):
        _hasher.verify(_NOBODYS, secret)
    return False


def is_possible(password: str) -> bool:
    """Tell whether anybody can have this password: not a book, and no lone surrogates."""
    if len(password) > MAX_LENGTH:
        return False
    try:
        password.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_order(stored: str) -> str | None:
    """Write the hash with its parameters as m,t,p, the one order that argon2 decodes. None if it is no hash."""
    match = _ENCODED.fullmatch(stored)
    if not match:
        return None
    parameters = dict(pair.split("=") for pair in match["parameters"].split(","))
    if set(parameters) != {"m", "t", "p"}:
        return None
    memory_kib, passes, lanes = (int(parameters[name]) for name in "mtp")
    if memory_kib > MAX_MEMORY_KIB or passes > MAX_PASSES or lanes > MAX_LANES:
        return None
    ordered = ",".join(f"{name}={parameters[name]}" for name in "mtp")
    return f"$argon2id$v=19${ordered}${match['salt']}${match['digest']}"


class Argon2Hasher(Argon2PasswordHasher):
    """Django's hasher with the gateway's parameters: a password of either kind takes as long to look at."""

    time_cost = 2
    memory_cost = 19_456
    parallelism = 1
