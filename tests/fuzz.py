"""Malformed and hostile requests to every address of the site and the admin. None may end in a server error.

    python -m tests.fuzz --requests 20000 --seed 1

The addresses come from the URL resolver, the filters of lists from the fields of the registered models, and forms from
the pages. So new pages are included automatically. The database holds what the gateway may have written, such as
infinite dates, deep JSON and a name of a megabyte. The limits on attempts and forms are switched off, so that requests
get further. The same seed makes the same requests.
"""
# ruff: noqa: E501, PLR0912, T201  # lists of junk, and a command

import argparse
import random
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote_from_bytes

JUNK = [
    b"", b"0", b"-1", b"1", b"x", b"word", b"None", b"true", b"\0", b"a\0b", b"\xed\xa0\x80", b"\xff\xfe", b"%", b"%s%n", b"'", b'"',
    b"' OR 1=1 --", b"(", b"[", b"\\", b"*", b"(((((((((((((a*)*)*)*", b"9" * 30, b"-" + b"9" * 30, b"99999", b"2147483648", b"1e400",
    b"NaN", b"inf", "\u0661\u0662".encode(), "\u0131".encode(), "\U0001f600".encode(), "\u202e".encode(), b"0000-00-00", b"2026-02-30",
    b"10000-01-01", b"99999-12-31", b"0001-01-01", b"9999-12-31", b"9999-12-31 23:59:59.999999", b"-infinity", b"infinity",
    b"2026-11-24T12:00:00+99:99", b"../../etc/passwd", b"//evil.example", b"/\\evil.example", b"javascript:alert(1)",
    b"/sign-in/?next=/sign-in/", b"<script>", b"{}", b"[]", b'{"a":' * 2000, b"null", b"a" * 3000, b"\r\nSet-Cookie: a=b", b"\x1b[0m",
    b"1,2,3", b"1__2", b"__class__", b"pk", b"id__in", b"_", b"-", b".", b"-1.-2.99", b"99.1", b"00000000-0000-0000-0000-000000000000",
]  # fmt: skip
LOOKUPS = [
    "", "exact", "iexact", "contains", "icontains", "in", "gt", "gte", "lt", "lte", "startswith", "endswith", "range", "date", "year",
    "month", "day", "week", "iso_year", "quarter", "time", "hour", "second", "isnull", "regex", "iregex", "overlap", "len", "has_key",
    "contained_by", "0", "-1", "a__b", "unaccent", "search", "trigram_similar", "date__year__gt", "year__in", "id", "pk__gt", "0_1",
]  # fmt: skip
OWN_PARAMETERS = [
    "next", "after", "period", "page", "p", "o", "q", "e", "all", "_facets", "_popup", "_to_field", "_changelist_filters", "category",
    "type", "tag", "sort", "before", "cursor", "group", "term", "app_label", "model_name", "field_name", "action", "format", "csv",
]  # fmt: skip
COOKIES = ["sessionid", "csrftoken", "messages", "known-member", "known-staff", "trc_refresh", "x", "\0"]
CONTENT_TYPES = [
    "application/x-www-form-urlencoded; charset=rot13", "application/x-www-form-urlencoded; charset=utf-16", "text/plain",
    "application/x-www-form-urlencoded; charset=", "application/x-www-form-urlencoded; charset=nonsense", "application/json", "",
    "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\xff", "multipart/form-data; boundary=a",
    "multipart/form-data; boundary=a; charset=zlib", "application/x-www-form-urlencoded; charset=raw_unicode_escape", "a/b; c", ";;;",
]  # fmt: skip
HEADERS = [
    "HTTP_HOST", "HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_ACCEPT_LANGUAGE", "HTTP_ACCEPT",
    "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_RANGE", "HTTP_REFERER", "HTTP_ORIGIN", "HTTP_USER_AGENT",
    "HTTP_X_REQUESTED_WITH", "HTTP_AUTHORIZATION", "HTTP_X_CSRFTOKEN", "HTTP_COOKIE", "HTTP_X_HTTP_METHOD_OVERRIDE", "REMOTE_ADDR",
    "HTTP_HX_REQUEST", "HTTP_EXPECT", "HTTP_ACCEPT_ENCODING",
]  # fmt: skip
METHODS = ["GET"] * 12 + ["POST"] * 8 + ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "NONSENSE"]
COUNTS = ["TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS"]


@dataclass(frozen=True)
class Address:
    """A pattern of the resolver. `format` has `%(name)s` where an argument belongs."""

    format: str
    parameters: tuple[str, ...]
    name: str


def addresses(resolver: Any, prefix: str = "/", namespace: str = "") -> Iterator[Address]:
    """Walk the URL resolver."""
    from django.urls import URLResolver  # noqa: PLC0415
    from django.utils.regex_helper import normalize  # noqa: PLC0415

    for pattern in resolver.url_patterns:
        [(part, parameters), *_] = normalize(pattern.pattern.regex.pattern) or [("", [])]
        if isinstance(pattern, URLResolver):
            inner = f"{namespace}{pattern.namespace}:" if pattern.namespace else namespace
            yield from addresses(pattern, prefix + part, inner)
        else:
            yield Address(prefix + part, tuple(parameters), f"{namespace}{pattern.name or ''}")


class Forms(HTMLParser):
    """Collects the names and values of a page's fields."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"input", "select", "textarea", "button"} and given.get("name"):
            self.fields.setdefault(str(given["name"]), given.get("value") or "")


@dataclass
class Found:
    """A request that ended in an error."""

    number: int
    who: str
    request: str
    status: int
    error: str


@dataclass
class Fuzzer:
    """Makes requests as several people, drawn from a seed."""

    seed: int
    rows: dict[Any, list[Any]]
    browsers: dict[str, Any]
    sent: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        from django.contrib import admin  # noqa: PLC0415
        from django.urls import get_resolver  # noqa: PLC0415

        self.random = random.Random(self.seed)
        self.addresses = list(addresses(get_resolver()))
        self.models = {
            f"admin:{model._meta.app_label}_{model._meta.model_name}": model for model in admin.site._registry
        }
        self.error = ""

    def run(self, requests: int) -> Iterator[Found]:
        from django.core.signals import got_request_exception  # noqa: PLC0415

        def note(request: Any = None, **_: Any) -> None:
            kind, error, trace = sys.exc_info()
            while trace and trace.tb_next:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else ""
            self.error = f"{kind.__name__ if kind else ''}: {str(error)[:200]} ({where})"

        got_request_exception.connect(note)
        try:
            while self.sent < requests:
                found = self.one()
                if found:
                    yield found
        finally:
            got_request_exception.disconnect(note)

    def junk(self) -> bytes:
        return self.random.choice(JUNK)

    def value(self, model: Any | None = None) -> str:
        """Return a percent-encoded value, now and then the key of an existing row."""
        if model is not None and self.rows.get(model) and self.random.random() < 0.6:
            return quote_from_bytes(str(self.random.choice(self.rows[model])).encode())
        return quote_from_bytes(self.junk())

    def path(self, address: Address) -> str:
        model = next((each for name, each in self.models.items() if address.name.startswith(name)), None)
        if model is None and address.parameters:
            model = self.random.choice(list(self.rows))
        values = {name: self.value(model) or "x" for name in address.parameters}
        return address.format % values if address.parameters else address.format

    def query(self, address: Address) -> str:
        model = next((each for name, each in self.models.items() if address.name.startswith(name)), None)
        pairs = []
        for _ in range(self.random.choice([0, 1, 1, 1, 2, 3])):
            if model and self.random.random() < 0.75:
                names = [each.name for each in model._meta.get_fields()]
                name = "__".join(filter(None, [self.random.choice(names), self.random.choice(LOOKUPS)]))
            else:
                name = self.random.choice(OWN_PARAMETERS)
            if self.random.random() < 0.05:
                name = quote_from_bytes(self.junk())
            pairs.append(f"{name}={self.value(model if self.random.random() < 0.3 else None)}")
        return "&".join(pairs)

    def body(self, browser: Any, path: str) -> dict[str, Any]:
        """Fill in the page's own form, with junk in some fields and impossible counts."""
        form = Forms()
        with suppress(Exception):
            form.feed(browser.get(path).content.decode())

        def text() -> str:
            return self.junk().decode("utf-8", "replace")

        filled: dict[str, Any] = {
            name: text() if self.random.random() < 0.4 else value for name, value in form.fields.items()
        }
        for name in [*form.fields]:
            if name.endswith(tuple(COUNTS)) and self.random.random() < 0.7:
                filled[name] = self.random.choice(["", "x", "-1", "0", "1", "7", "999", "2001", "9" * 30])
        for _ in range(self.random.choice([0, 0, 1, 3])):
            prefix = self.random.choice(["form", "members", "x"])
            filled[f"{prefix}-{self.random.choice(COUNTS)}"] = self.random.choice(["x", "1", "1000", "-5"])
            filled[
                self.random.choice([*OWN_PARAMETERS, "listed", "email", "password", "username", "action"])
            ] = text()
        keys = [str(key) for keys in self.rows.values() for key in keys]
        if self.random.random() < 0.4:
            filled["_selected_action"] = [
                self.random.choice([text(), self.random.choice(keys)]) for _ in range(3)
            ]
            filled["action"] = self.random.choice(["delete_selected", "adjust_points", "x", text()])
        return filled

    def one(self) -> Found | None:
        address = self.random.choice(self.addresses)
        who, browser = self.random.choice(list(self.browsers.items()))
        if address.name.startswith("admin:") and self.random.random() < 0.8:
            who = self.random.choice(["admin", "superuser", "superuser"])  # others are redirected
            browser = self.browsers[who]
        method = self.random.choice(METHODS)
        with suppress(ValueError):
            path = self.path(address)
        query = self.query(address)
        extra: dict[str, Any] = {}
        for _ in range(self.random.choice([0, 0, 0, 1, 2])):
            extra[self.random.choice(HEADERS)] = self.junk().decode("latin-1")
        saved = browser.cookies.output()
        if self.random.random() < 0.1:
            name = self.random.choice(COOKIES)
            cookies = "; ".join(f"{key}={each.value}" for key, each in browser.cookies.items() if key != name)
            extra["HTTP_COOKIE"] = f"{cookies}; {name}={self.junk().decode('latin-1')}"
        data: Any = self.body(browser, path) if method == "POST" and "sign-out" not in path else b""
        options: dict[str, Any] = {"data": data} if method == "POST" and data else {}
        if method != "GET" and self.random.random() < 0.15:
            options = {"data": b"a=%00&b=" + self.junk(), "content_type": self.random.choice(CONTENT_TYPES)}
        extra["QUERY_STRING"] = query
        self.error = ""
        self.sent += 1
        try:
            if method in {"GET", "HEAD"}:
                response = getattr(browser, method.lower())(path, **extra)
            elif method == "POST" and "content_type" in options:
                response = browser.generic(
                    "POST", path, **options, **extra
                )  # unchanged: post() would encode it again
            elif method == "POST":
                response = browser.post(path, **options, **extra)
            else:
                options.pop("data", None)
                response = browser.generic(method, path, b"x=1", **extra)
            status = response.status_code
            if getattr(response, "streaming", False):
                for _ in response.streaming_content:
                    break
        except Exception as error:  # any error that no middleware has handled
            last = traceback.extract_tb(error.__traceback__)[-3:]
            where = " < ".join(
                f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno}" for frame in last[::-1]
            )
            status, self.error = 500, f"{type(error).__name__}: {error} ({where})"
        self.statuses[status] += 1
        self.reached[address.name or address.format] += 1
        # The request signed this person out, or signed in another account.
        if browser.account and (saved != browser.cookies.output() or method == "POST" or status == 302):
            browser.renew()
        if status >= 500:
            shown = {name: each for name, each in extra.items() if name != "QUERY_STRING"}
            request = f"{method} {path}?{query} {shown} {str(options)[:600]}"
            return Found(self.sent, who, request, status, self.error)
        return None


POISON = r"""
UPDATE "Member" SET "currentPeriodEnd" = '55840-01-01', "introCompletedAt" = 'infinity', "lastGuidanceDmAt" = '0044-03-15 BC',
  "firstName" = repeat('long ', 200000), "sentBillingNotifications" = '{{a,NULL},{"\"",b}}', "pointsMonth" = 'infinity',
  "lastActiveAt" = 'infinity', "paymentFailedAt" = '-infinity', company = E'\u202e<b>\n', "currentStreak" = 2147483647
 WHERE id IN (SELECT id FROM "Member" ORDER BY id LIMIT 2);
UPDATE "Team" SET "debtorStateEndsAt" = 'infinity', "gracePeriodEndsAt" = '55840-01-01';
INSERT INTO "AuditLog" (id, action, "entityType", "entityId", details, "createdAt") VALUES
  ('deep', 'x', 'Member', 'x', (repeat('{"a":', 3000) || '1' || repeat('}', 3000))::jsonb, 'infinity'),
  ('digits', 'x', 'Member', 'x', ('[1' || repeat('0', 9000) || ', 1e9999]')::jsonb, '-infinity');
INSERT INTO "StripeEvent" (id, "eventId", type, payload, "processedAt") VALUES
  ('deep', 'deep', repeat('x', 1000), (repeat('[', 3000) || repeat(']', 3000))::jsonb, '55840-01-01');
INSERT INTO "ReconciliationRun" (id, "triggeredBy", issues, "startedAt", "completedAt") VALUES
  ('deep', 'x', (repeat('[', 3000) || repeat(']', 3000))::jsonb, 'infinity', '0044-03-15 BC');
ALTER TABLE "PointTransaction" DISABLE TRIGGER USER;
INSERT INTO "PointTransaction" (id, "memberId", action, points, metadata, "createdAt")
SELECT 'deep' || id, id, repeat('long_', 100), 5, (repeat('{"reason":', 3000) || '1' || repeat('}', 3000))::jsonb, 'infinity'::timestamp FROM "Member"
UNION ALL SELECT 'old' || id, id, '', -5, '"text"'::jsonb, '0044-03-15 BC'::timestamp FROM "Member";
ALTER TABLE "PointTransaction" ENABLE TRIGGER USER;
"""


def prepare(connection: Any) -> Fuzzer:
    """Fill Django's database, and open browsers for several people."""
    from django.contrib import admin  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from council import roles, throttle, wsgi  # noqa: PLC0415
    from council.models import Admin, AdminRole, Member  # noqa: PLC0415
    from tests.council.test_admin import ROWS  # noqa: PLC0415
    from tests.factories import AccountFactory, MemberFactory  # noqa: PLC0415

    throttle.MAX_POSTS = 10**9
    throttle.MAX_FAILURES = dict.fromkeys(throttle.MAX_FAILURES, 10**9)
    for model in admin.site._registry:
        if make := ROWS.get(model):
            for _ in range(3):
                with suppress(Exception):
                    make()
    member, lapsed = MemberFactory.create(), MemberFactory.create(subscription_status="CANCELLED")
    with connection.cursor() as cursor:
        cursor.execute(POISON)
    rows = {
        model: list(model._base_manager.values_list("pk", flat=True)[:5]) for model in admin.site._registry
    }

    class Browser(Client):
        account: Any = None

        def request(self, **request: Any) -> Any:
            """Handle requests as council/wsgi.py does."""
            return super().request(**wsgi.tidy(request))

        def renew(self) -> None:
            """Sign in again, after a request that may have signed out."""
            self.cookies.clear()
            if self.account:
                kept = {
                    name: getattr(self.account, name) for name in ("is_active", "is_staff", "is_superuser")
                }
                type(self.account).objects.filter(pk=self.account.pk).update(**kept)
                self.account.refresh_from_db(fields=["password", "session_generation"])
                self.force_login(self.account)

    poisoned = Member.objects.order_by("pk").first()
    curator = AccountFactory.create(admin=Admin.objects.create(email="curator@x", password_hash="x"))
    roles.assign(curator, AdminRole.ADMIN)
    accounts = {
        "stranger": None,
        "member": AccountFactory.create(member=member),
        "poisoned member": AccountFactory.create(member=poisoned),
        "lapsed member": AccountFactory.create(member=lapsed),
        "admin": curator,
        "superuser": AccountFactory.create(username="fuzzer", is_staff=True, is_superuser=True),
    }
    browsers = {}
    for who, account in accounts.items():
        browsers[who] = Browser(raise_request_exception=False)
        browsers[who].account = account
        browsers[who].renew()
    return Fuzzer(seed=0, rows=rows, browsers=browsers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    import os  # noqa: PLC0415

    import django  # noqa: PLC0415

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    import logging  # noqa: PLC0415

    from django.conf import settings  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415
    from django.test.utils import setup_test_environment  # noqa: PLC0415
    from psycopg import sql  # noqa: PLC0415

    from tests import databases  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    setup_test_environment(debug=False)
    assert settings.EMBEDDED_SERVER
    own = databases.Database(f"council_fuzz_{os.getpid()}")
    connection.settings_dict["NAME"] = "postgres"
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    own.create()
    connection.close()
    try:
        with own.as_default_connection():
            call_command("migrate", verbosity=0, interactive=False)
            fuzzer = prepare(connection)
            fuzzer.seed = given.seed
            fuzzer.random = random.Random(given.seed)
            found = []
            began = time.monotonic()
            for each in fuzzer.run(given.requests):
                found.append(each)
                print(
                    f"{each.status} for {each.who}, request {each.number}: {each.request[:700]}\n    {each.error}"
                )
            seconds = time.monotonic() - began
            print(f"seed {given.seed}: {fuzzer.sent:,} requests in {seconds:.0f} s at {len(fuzzer.reached)} of "
                  f"{len(fuzzer.addresses)} addresses; by status {dict(sorted(fuzzer.statuses.items()))}; "
                  f"{len(found)} errors.")  # fmt: skip
            kinds = Counter(re.sub(r"'[^']*'|\d+", "…", each.error)[:160] for each in found)
            for kind, number in kinds.most_common():
                print(f"{number:6}  {kind}")
    finally:
        connection.settings_dict["NAME"] = "postgres"
        databases.execute_on_server(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(own.name)))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
