"""Hashes from the gateway, and values that are not hashes."""

import argon2
import pytest

from council import passwords

pytestmark = pytest.mark.any_server

# Of "correct horse".
HASH = "$argon2id$v=19$m=8,t=1,p=1$R1AIxi3woK1nmbVJfxj9nw$B5d6fttv39YDujkXhsdWwD+9I9vuk3wvd0WMJIcfzzE"
SWAPPED = HASH.replace("m=8,t=1,p=1", "m=8,p=1,t=1")


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Records the hashes that argon2 verifies."""
    verified: list[str] = []

    class Watched(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
            verified.append(str(hash))
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_hasher", Watched())
    return verified


@pytest.mark.parametrize("order", ["m=8,t=1,p=1", "m=8,p=1,t=1", "p=1,t=1,m=8", "t=1,m=8,p=1"])
def test_a_hash_is_read_with_its_parameters_in_any_order(order: str) -> None:
    stored = HASH.replace("m=8,t=1,p=1", order)
    assert passwords.is_correct("correct horse", stored=stored)
    assert not passwords.is_correct("correct horsE", stored=stored)


@pytest.mark.parametrize("order", ["m=19456,t=2,p=1", "m=19456,p=1,t=2"])
def test_a_hash_with_the_gateway_s_parameters_is_read(order: str) -> None:
    gateways = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
    stored = gateways.hash("Zoë's ключ 🔑").replace("m=19456,t=2,p=1", order)
    assert passwords.is_correct("Zoë's ключ 🔑", stored=stored)
    assert not passwords.is_correct("Zoe's ключ 🔑", stored=stored)


def test_argon2_itself_refuses_the_other_order() -> None:
    with pytest.raises(argon2.exceptions.VerificationError, match="Decoding failed"):
        argon2.PasswordHasher().verify(SWAPPED, "correct horse")


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "correct horse",
        "$2b$12$the-hash-of-mia",
        "argon2" + HASH,
        HASH + "\n",
        HASH + "\0",
        HASH[:-10],
        HASH[:-1] + "=",
        HASH + "é",
        "\ud800",
        HASH.replace("argon2id", "argon2i"),
        HASH.replace("v=19", "v=16"),
        HASH.replace("m=8", "m=0"),
        HASH.replace("t=1", "t=0"),
        HASH.replace("p=1", "p=0"),
        HASH.replace("m=8", "m=08"),
        HASH.replace("m=8,t=1,p=1", "m=8,t=1"),
        HASH.replace("m=8,t=1,p=1", "m=8,m=8,t=1"),
        HASH.replace("m=8", "m=4194304"),
        HASH.replace("m=8", "m=262145"),
        HASH.replace("t=1", "t=9999999"),
        HASH.replace("t=1", "t=17"),
        HASH.replace("m=8", "m=1024").replace("p=1", "p=17"),
        HASH * 100,
    ],
)
def test_an_invalid_hash_matches_no_password_and_takes_no_longer(
    stored: str | None, verified: list[str]
) -> None:
    assert not passwords.is_correct("correct horse", stored=stored)
    for asked in verified:  # also of a hash that argon2 then could not read
        parameters = argon2.extract_parameters(asked)
        assert parameters.memory_cost <= 2**18
        assert max(parameters.time_cost, parameters.parallelism) <= 16
    assert argon2.extract_parameters(verified[-1]).memory_cost == 19456


@pytest.mark.parametrize("password", ["", "\0", "\ud800", "x" * 10_000_000, "correct horse\0"])
def test_an_impossible_password_matches_no_hash(password: str) -> None:
    assert not passwords.is_correct(password, stored=HASH)
    assert not passwords.is_correct(password, stored=None)


@pytest.mark.parametrize(
    ("password", "stored"),
    [
        ("wrong", None),
        ("wrong", "$2b$"),
        ("wrong", HASH.replace("m=8", "m=0")),
        ("\ud800", HASH),
        ("x" * 5000, HASH),
    ],
)
def test_a_check_without_a_hash_takes_as_long_as_with_one(
    password: str, stored: str | None, verified: list[str]
) -> None:
    assert not passwords.is_correct(password, stored=stored)
    parameters = argon2.extract_parameters(verified[-1])
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (19456, 2, 1)


@pytest.mark.parametrize("parameters", ["m=262144,t=1,p=1", "m=8,t=16,p=1", "m=128,t=1,p=16"])
def test_a_hash_at_a_limit_is_checked_once(parameters: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Refusing:
        def verify(self, encoded: str, secret: bytes) -> bool:
            asked.append(encoded)
            raise argon2.exceptions.VerifyMismatchError

    monkeypatch.setattr(passwords, "_hasher", Refusing())
    stored = HASH.replace("m=8,t=1,p=1", parameters)
    assert not passwords.is_correct("wrong", stored=stored)
    assert asked == [stored]


def test_a_password_has_4096_characters_at_most() -> None:
    assert passwords.is_possible("x" * 4096)
    assert not passwords.is_possible("x" * 4097)


def test_hashes_made_here_have_the_parameters_of_the_gateway() -> None:
    assert "$m=19456,t=2,p=1$" in passwords.Argon2Hasher().encode("secret", "some salt of ours")
