"""The plans of the library's queries use indexes on large tables."""

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client

from council.accounts.models import Account
from council.models import Member
from tests.databases import Database
from tests.performance.library import BASE, Contestant, fill, look

RESOURCES, DOWNLOADS = 4_000, 40_000
# For a word in nearly every text, any scan finds 200 matches in the first 200 rows.
SCANS = "search, a word of nearly every one"


@pytest.fixture
def library(migrated: Database) -> Iterator[Client]:
    """A filled database to which Django is connected, and the browser of a member."""
    server: Any = SimpleNamespace(connect=lambda _: migrated.connect())
    fill(server, migrated.name, resources=RESOURCES, downloads=DOWNLOADS)
    with migrated.as_default_connection():
        browser = Client()
        member = Member.objects.get(pk=f"m{1:024}")
        browser.force_login(Account.objects.create(username="mia", member=member))
        yield browser


def test_no_page_scans_a_table_that_grows(library: Client) -> None:
    server: Any = None
    pages = Contestant(server, RESOURCES)
    pages.prepare()
    scans = {}
    for what, address in pages.addresses.items():
        if what not in (BASE, SCANS):
            scans[what] = look(library, address(random.Random(1)))[1]

    assert {what: found for what, found in scans.items() if found} == {}
