"""A real browser, Debian's Chromium, for the application on a separate database.

A pytest plugin (see conftest.py). All tests of a worker share one browser, one server and one database. So a test makes
its own people, and never counts rows that other tests may have made.

    def test_the_page_is_accessible(visitor: Visitor) -> None:
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
    """A thread for Playwright, and stand-ins for Playwright's objects that other threads can use.

    Playwright leaves an event loop running in its thread. In that thread, Django would treat a test as async code and
    give it different database connections.
    """

    name = "playwright"

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, self.name)

    def __call__(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def call() -> Any:
            return function(
                *(plain(value) for value in args), **{name: plain(value) for name, value in kwargs.items()}
            )

        is_here_already = threading.current_thread().name.startswith(self.name)  # for example in a listener
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
    """Return Playwright's own object for a stand-in."""
    return value._it if isinstance(value, StandIn) else value


class Visitor:
    """Somebody at the browser, with a separate window that shares no cookies.

    A message in the browser's console is a fault of the page. At the end, every test checks that there were no messages
    except those that it `expects`, such as that of a 404 that it asked for.
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
        """Return the label or the text of the element that has the focus, as a screen reader would."""
        return str(self.page.evaluate(NAME_OF_FOCUSED))

    def expect_complaints(self, words: str) -> None:
        """Forget the browser's messages that contain this text. There must be at least one."""
        rest = [complaint for complaint in self.complaints if words not in complaint]
        assert len(rest) < len(self.complaints), f"no message contains {words!r}: {self.complaints}"
        self.complaints = rest

    def picture(self, name: str) -> None:
        """Save pictures of the page in build/screenshots, for a phone and for a desktop."""
        for size in (PHONE, DESK):
            self.resize(size)
            self._picture(f"{name}-{size['width']}")

    def inspect(self, name: str) -> None:
        """Check that the page fits a phone and a desktop, and that axe finds no fault, also in dark mode.

        Saves pictures in build/screenshots.
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
    """Serve the application in another process, with that database. Yields its address."""
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
    """The address of a server process that uses that database. Staff need no second factor there."""
    with serving(served_database, STAFF_SECOND_FACTOR="false") as address:
        yield address


@pytest.fixture
def live(django_db_blocker: Any, served_database: Database, server: str) -> Iterator[str]:
    """Connect Django to the server's database. Changes are committed."""
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
        # No transitions: otherwise a picture, or axe, might catch a colour in the middle of a change.
        context = chromium.new_context(viewport=DESK, reduced_motion="reduce", **options)  # type: ignore[arg-type]
        visitors.append(Visitor(context, live))
        return visitors[-1]

    yield new_visitor
    complaints = [complaint for visitor in visitors for complaint in visitor.complaints]
    for visitor in visitors:
        visitor.context.close()
    assert complaints == [], "the browser's console has messages"


@pytest.fixture
def visitor(new_visitor: Callable[..., Visitor]) -> Visitor:
    return new_visitor()
