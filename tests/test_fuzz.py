"""A sample of tests/fuzz.py: hostile requests to every address, none of which may end in a server error."""

import random
import time
from collections.abc import Iterator

import pytest
from django.db import connection

from tests import fuzz
from tests.databases import Database

REQUESTS = 250


@pytest.fixture
def fuzzer(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[fuzz.Fuzzer]:
    from council import throttle  # noqa: PLC0415

    for name in ("MAX_POSTS", "MAX_FAILURES"):
        monkeypatch.setattr(throttle, name, getattr(throttle, name))  # put back afterwards
    with migrated.as_default_connection():
        yield fuzz.prepare(connection)


def test_no_request_of_a_sample_ends_in_an_error(fuzzer: fuzz.Fuzzer) -> None:
    """Takes another sample each day. `python -m tests.fuzz` runs all of it."""
    seed = int(time.time() // 86_400)
    fuzzer.random = random.Random(seed)
    found = list(fuzzer.run(REQUESTS))
    assert not found, f"python -m tests.fuzz --requests {REQUESTS} --seed {seed}: {found[:3]}"
    assert len(fuzzer.reached) > 50
    assert {200, 302, 400, 403, 404} <= set(fuzzer.statuses)


def test_every_address_of_the_resolver_is_tried(fuzzer: fuzz.Fuzzer) -> None:
    formats = {address.format for address in fuzzer.addresses}
    assert {
        "/points/",
        "/sign-in/",
        "/admin/council/member/",
        "/admin/council/member/%(object_id)s/change/",
    } <= formats
