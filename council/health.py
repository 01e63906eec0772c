"""`/healthz` tells whether the process is alive, `/readyz` whether it can serve pages.

Load balancers ask without a host name, without TLS and without signing in, so both are answered before Django's own
middleware. They reveal only one word for each probe. `/readyz` answers 503 if pages cannot be served. A problem that
staff should look at, but that stops no page, is "degraded" with status 200, so that load balancers keep the site.

An app registers its probes in its module `health`, which its AppConfig imports.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db import DatabaseError, connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse

from council import jobs
from council.registry import Registry

# However often somebody asks, each process runs its probes at most once in this time.
LOOK_SECONDS = 5.0
STATEMENT_TIMEOUT = "2s"

Respond = Callable[[HttpRequest], HttpResponse]


@dataclass
class Probe:
    """A check of one thing. `look` returns None, or a word for a problem. The result is kept for `kept_seconds`."""

    look: Callable[[], str | None]
    is_critical: bool
    kept_seconds: float
    kept: str | None = None
    looked_at: float = field(default=float("-inf"))

    def word(self) -> str | None:
        if time.monotonic() - self.looked_at > self.kept_seconds:
            self.kept = self.look()
            self.looked_at = time.monotonic()
        return self.kept


PROBES: Registry[Probe] = Registry()


def register(
    name: str, *, is_critical: bool = False, kept_seconds: float = LOOK_SECONDS
) -> Callable[[Callable[[], str | None]], Callable[[], str | None]]:
    def decorate(look: Callable[[], str | None]) -> Callable[[], str | None]:
        PROBES.add(name, Probe(look, is_critical, kept_seconds))
        return look

    return decorate


@register("database", is_critical=True, kept_seconds=0)
def database() -> str | None:
    """Check that the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return None


_is_migrated = False


@register("migrations", is_critical=True)
def migrations() -> str | None:
    """Check that all migrations of this code are applied. Once they are, the process does not check again."""
    global _is_migrated  # noqa: PLW0603
    if not _is_migrated:
        executor = MigrationExecutor(connection)
        _is_migrated = not executor.migration_plan(executor.loader.graph.leaf_nodes())
    return None if _is_migrated else "pending"


@register("jobs", kept_seconds=30)
def overdue_jobs() -> str | None:
    """Check that no job is overdue."""
    return "overdue" if any(state.is_overdue for state in jobs.states()) else None


class Health:
    """Middleware that answers the two addresses. It comes before Django's, which would redirect or refuse."""

    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response
        self.lock = threading.Lock()
        self.answer: tuple[dict[str, str], int] = ({}, 503)
        self.answered_at = float("-inf")

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path not in {"/healthz", "/readyz"}:
            return self.get_response(request)
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        response: HttpResponse
        if request.path == "/healthz":
            response = HttpResponse("ok\n", content_type="text/plain")
        else:
            words, status = self.ready()
            response = JsonResponse(words, status=status)
        response["Cache-Control"] = "no-store"
        return response

    def ready(self) -> tuple[dict[str, str], int]:
        with self.lock:
            if time.monotonic() - self.answered_at > LOOK_SECONDS:
                self.answer = look()
                self.answered_at = time.monotonic()
            return self.answer


def look() -> tuple[dict[str, str], int]:
    """Run all probes. Returns a word for each, and the HTTP status."""
    words: dict[str, str] = {}
    is_ready = True
    for name, probe in PROBES.items():
        if not is_ready:
            break  # the remaining probes would fail for the same reason
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [STATEMENT_TIMEOUT])
                word = probe.word()
        except DatabaseError:
            word = "unavailable"
        words[name] = word or "ok"
        is_ready = is_ready and (word is None or not probe.is_critical)
    status = "unavailable" if not is_ready else "ok" if set(words.values()) == {"ok"} else "degraded"
    return {"status": status, **words}, 200 if is_ready else 503
