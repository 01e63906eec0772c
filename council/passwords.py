"""Checking passwords that the gateway stores as plain argon2id strings. They are only read here, never written.

Accounts made with `createsuperuser` have Django's own hashes, with the same parameters.
"""

import contextlib
import re

import argon2
from django.contrib.auth.hashers import Argon2PasswordHasher

MAX_LENGTH = 4096

# The hash contains its cost parameters. One that is far costlier than the gateway's is refused.
MAX_MEMORY_KIB = 2**18
MAX_PASSES = MAX_LANES = 16

_ENCODED = re.compile(
    r"\$argon2id\$v=19\$(?P<parameters>[mtp]=\d{1,7}(?:,[mtp]=\d{1,7}){2})"
    r"\$(?P<salt>[A-Za-z0-9+/]{11,64})\$(?P<digest>[A-Za-z0-9+/]{16,128})"
)

# The hash of a password that nobody knows, with the gateway's parameters.
_NOBODYS = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGhhcyB0aGlzIQ$mUuPMS3qi4XqDMSzQ0vJ1LJ9MbQVkxYBpHmDRdGP0tA"

# Django puts this before its own hashes.
DJANGO_PREFIX = "argon2"

_hasher = argon2.PasswordHasher()


def is_correct(password: str, *, stored: str | None) -> bool:
    """Tell whether the password matches the stored hash.

    If there is no stored hash, or no valid one, the answer is no, and takes about as long as any other.
    """
    secret = password.encode() if is_possible(password) else b""
    encoded = _in_order(stored or "")
    if encoded is not None and is_possible(password):
        try:
            return _hasher.verify(encoded, secret)
        except argon2.exceptions.VerifyMismatchError:
            return False
        except argon2.exceptions.VerificationError:
            pass  # argon2 cannot read this hash, although the pattern matches
    with contextlib.suppress(argon2.exceptions.VerifyMismatchError):
        _hasher.verify(_NOBODYS, secret)
    return False


def is_possible(password: str) -> bool:
    """Tell whether anybody can have this password. Overlong text and lone surrogates are impossible."""
    if len(password) > MAX_LENGTH:
        return False
    try:
        password.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_order(stored: str) -> str | None:
    """Put the hash's parameters in the order m,t,p, the only one that argon2 decodes. None if it is not valid."""
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
    """Django's hasher with the gateway's parameters, so that checking either kind of password takes as long."""

    time_cost = 2
    memory_cost = 19_456
    parallelism = 1
