"""Fixtures for the named people in the tests, and a browser without JavaScript."""

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from council.accounts.models import Account
from council.models import Member, SubscriptionStatus
from tests.factories import AccountFactory, MemberFactory, TeamFactory

pytest_plugins = ["tests.browser", "tests.community", "tests.resources.curating", "tests.resources.storages"]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    request: pytest.FixtureRequest,
    django_db_modify_db_settings_parallel_suffix: None,
    django_db_keepdb: bool,
    django_db_createdb: bool,
) -> None:
    """Copy Django's test database from the migrated one, so that each worker need not migrate it.

    It is here because pytest-django's fixture would win over one in a plugin of ours.
    """
    if not django_db_keepdb or django_db_createdb:
        connection.settings_dict["TEST"]["TEMPLATE"] = request.getfixturevalue("migrated_template")


@pytest.fixture
def mia(db: None) -> Member:
    """A member in good standing, with a team."""
    return MemberFactory.create(
        email="mia@acme.example",
        first_name="Mia",
        last_name="Meyer",
        company="Acme",
        password_hash="$2b$12$the-hash-of-mia",
        team=TeamFactory.create(name="Acme"),
    )


@pytest.fixture
def carl(mia: Member) -> Member:
    """Mia's colleague in the same team."""
    return MemberFactory.create(
        email="carl@acme.example", first_name="Carl", last_name="Cohen", company="Acme", team=mia.team
    )


@pytest.fixture
def lars(db: None) -> Member:
    """A member whose subscription has ended."""
    return MemberFactory.create(
        email="lars@lapsed.example", first_name="Lars", subscription_status=SubscriptionStatus.CANCELLED
    )


@pytest.fixture
def sam(db: None) -> Account:
    """A superuser."""
    return AccountFactory.create(username="sam", is_staff=True, is_superuser=True)


@pytest.fixture
def nora(db: None) -> Account:
    """Staff without any permission."""
    return AccountFactory.create(username="nora", is_staff=True)


@pytest.fixture
def sams_browser(sam: Account) -> Client:
    browser = Client()
    browser.force_login(sam)
    return browser


@pytest.fixture
def noras_browser(nora: Account) -> Client:
    browser = Client()
    browser.force_login(nora)
    return browser


BUTTONS = {"submit", "button", "image", "reset"}
BOXES = {"checkbox", "radio"}


class _Form(HTMLParser):
    """Collects the fields that a browser would send for a page's forms, without the buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, list[str]] = {}
        self.select = self.textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        kind, name = given.get("type", "text"), given.get("name", "")
        if tag == "select":
            self.select = name
        elif tag == "option" and self.select and "selected" in given:
            self.fields.setdefault(self.select, []).append(given.get("value", ""))
        elif tag == "textarea":
            self.textarea = name
            self.fields[name] = [""]
        elif tag == "input" and name and (kind not in BUTTONS | BOXES or "checked" in given):
            self.fields.setdefault(name, []).append(given.get("value", "on" if kind in BOXES else ""))

    def handle_data(self, data: str) -> None:
        if self.textarea:
            self.fields[self.textarea][0] += data.removeprefix("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.select = ""
        elif tag == "textarea":
            self.textarea = ""


@pytest.fixture
def fill_in() -> Callable[..., dict[str, Any]]:
    """Read a page's form as the browser would send it, with the given fields changed."""

    def fill_in(page: HttpResponse, **changes: Any) -> dict[str, Any]:
        form = _Form()
        form.feed(page.content.decode())
        return {**form.fields, **changes}

    return fill_in
