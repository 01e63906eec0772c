"""A real browser, Debian's Chromium, in front of the application on a database of its own.

A pytest plugin (see conftest.py). One browser, one server and one database serve all tests of a worker, so that
a test makes people of its own and never counts everybody's rows.

    def test_the_page_is_fit_for_everybody(visitor: Visitor) -> None:
        visitor.sign_in(member)
        visitor.open("/membership/")
        visitor.inspect("membership")
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import DEFAULT_DB_ALIAS, connections
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, sync_playwright

from council.accounts.models import Account
from council.models import Member
from tests.databases import ROOT, Database

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
SCREENSHOTS = ROOT / "build" / "screenshots"
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 800}
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Elsewhere:
    """A thread of Playwright's own, and stand-ins for its objects that can be used from here.

    Playwright leaves an event loop running in its thread. Django would take a test in the same thread for async code,
    and give it other database connections than the rest of the suite has.
    """

    name = "playwright"

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, self.name)

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def call() -> Any:
            return function(
                *(plain(value) for value in args), **{name: plain(value) for name, value in kwargs.items()}
            )

        is_here_already = threading.current_thread().name.startswith(self.name)  # as a listener is
        return self.stand_in_for(call() if is_here_already else self.thread.submit(call).result(120))

    def stand_in_for(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.stand_in_for(item) for item in value]
        is_playwrights = callable(value) or type(value).__module__.startswith("playwright.")
        return StandIn(self, value) if is_playwrights else value


class StandIn:
    def __init__(self, elsewhere: Elsewhere, it: Any) -> None:
        self._elsewhere, self._it = elsewhere, it

    def __getattr__(self, name: str) -> Any:
        return self._elsewhere(getattr, self._it, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._elsewhere(self._it, *args, **kwargs)

    def __enter__(self) -> Any:
        return self._elsewhere(self._it.__enter__)

    def __exit__(self, *raised: Any) -> Any:
        return self._elsewhere(self._it.__exit__, *raised)


def plain(value: Any) -> Any:
    """Give Playwright its own object back."""
    return value._it if isinstance(value, StandIn) else value


class Visitor:
    """Somebody at the browser: a window of their own, without cookies of others.

    What the browser complains of is a fault of the page: every test ends by making sure that there was nothing, save
    what it `expects`, such as the 404 that it went to see.
    """

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.context = context
        self.address = address
        self.page: Page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.complaints: list[str] = []
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.location['url']}: {message.text}")

    def open(self, path: str) -> Response:
        response = self.page.goto(f"{self.address}{path}")
        assert response is not None
        return response

    @property
    def path(self) -> str:
        return self.page.url.removeprefix(self.address)

    def sign_in(self, person: Member | Account) -> None:
        """Give the browser a session, without the sign-in page."""
        if isinstance(person, Member):
            account, _ = Account.objects.get_or_create(member=person, defaults={"username": person.pk})
        else:
            account = person
        session = SessionStore()
        session[SESSION_KEY] = str(account.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = Account.objects.get(pk=account.pk).get_session_auth_hash()
        session.save()
        assert session.session_key
        self.context.add_cookies([{"name": "session", "value": session.session_key, "url": self.address}])

    def resize(self, size: dict[str, int]) -> None:
        self.page.set_viewport_size(size)  # type: ignore[arg-type]

    def focused(self) -> str:
        """Name what has the focus, as a screen reader would: its label, or its text."""
        return str(self.page.evaluate(NAME_OF_FOCUSED))

    def expect_complaints(self, words: str) -> None:
        """Forget the browser's complaints with these words, of which there has to be one."""
        rest = [complaint for complaint in self.complaints if words not in complaint]
        assert len(rest) < len(self.complaints), f"no complaint says {words!r}: {self.complaints}"
        self.complaints = rest

    def picture(self, name: str) -> None:
        """Leave a picture of the page in build/screenshots, as it is on a phone and at a desk."""
        for size in (PHONE, DESK):
            self.resize(size)
            self._picture(f"{name}-{size['width']}")

    def inspect(self, name: str) -> None:
        """Look at the page on a phone and at a desk: it fits the screen, and axe finds nothing, in the dark neither.

        Leaves pictures in build/screenshots.
        """
        for size in (DESK, PHONE):
            self.resize(size)
            self._picture(f"{name}-{size['width']}")
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= size["width"], f"{name} is {wide} pixels wide on a screen of {size['width']}"
            self._ask_axe(name)
        self.page.emulate_media(color_scheme="dark")
        self._picture(f"{name}-dark")
        self._ask_axe(name, runOnly=["color-contrast"])
        self.page.emulate_media(color_scheme="light")

    def _ask_axe(self, name: str, **options: Any) -> None:
        results = Axe().run(self.page, options={"resultTypes": ["violations"], **options})
        assert results.violations_count == 0, (
            f"{name} at {self.page.viewport_size}: {results.generate_report()}"
        )

    def _picture(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


NAME_OF_FOCUSED = """() => {
    const it = document.activeElement;
    if (!it || it === document.body) return "";
    return (it.labels && it.labels.length ? it.labels[0].textContent : it.textContent).trim();
}"""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed (apt-get install chromium, or set CHROMIUM)")
    elsewhere = Elsewhere()
    playwright = elsewhere(lambda: sync_playwright().start())
    browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
    yield browser
    browser.close()
    playwright.stop()
    elsewhere.thread.shutdown()


@pytest.fixture(scope="session")
def served_database(
    django_db_blocker: Any, database_name: Callable[[str], str], migrated_template: str
) -> Iterator[Database]:
    database = Database(database_name("served"))
    with django_db_blocker.unblock():
        database.drop()
        database.create(template=migrated_template)
    yield database
    with django_db_blocker.unblock():
        database.drop()


@contextmanager
def serving(database: Database, **environment: str) -> Iterator[str]:
    """Serve the application from a process of its own, with that database. Yields its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.serve"],
        cwd=ROOT,
        env=database.environment(DEBUG="false", **environment),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    port = process.stdout.readline().strip()
    assert port, "the server did not start; its errors are above"
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="session")
def server(served_database: Database) -> Iterator[str]:
    """The address of a server process that works with that database. Staff have no second factor there."""
    with serving(served_database, STAFF_SECOND_FACTOR="false") as address:
        yield address


@pytest.fixture
def live(django_db_blocker: Any, served_database: Database, server: str) -> Iterator[str]:
    """Have Django's own connection work with the server's database, and commit."""
    usual = connections[DEFAULT_DB_ALIAS]
    connections[DEFAULT_DB_ALIAS] = usual.copy(DEFAULT_DB_ALIAS)
    connections[DEFAULT_DB_ALIAS].settings_dict["NAME"] = served_database.name
    try:
        with django_db_blocker.unblock():
            yield server
    finally:
        connections[DEFAULT_DB_ALIAS].close()
        connections[DEFAULT_DB_ALIAS] = usual


@pytest.fixture
def new_visitor(chromium: Browser, live: str) -> Iterator[Callable[..., Visitor]]:
    """Open windows for as many visitors as the test needs."""
    visitors: list[Visitor] = []

    def new_visitor(**options: Any) -> Visitor:
        # No transitions: a picture, or axe, would find a colour that is on its way to another.
        context = chromium.new_context(viewport=DESK, reduced_motion="reduce", **options)  # type: ignore[arg-type]
        visitors.append(Visitor(context, live))
        return visitors[-1]

    yield new_visitor
    complaints = [complaint for visitor in visitors for complaint in visitor.complaints]
    for visitor in visitors:
        visitor.context.close()
    assert complaints == [], "the browser complained"


@pytest.fixture
def visitor(new_visitor: Callable[..., Visitor]) -> Visitor:
    return new_visitor()
