"""How an act gets its locks from a database that is in use."""

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from council.zero_downtime import failures, locks
from council.zero_downtime.lock_modes import Lock
from council.zero_downtime.observer import NOBODY, Observer

# lock_not_available and deadlock_detected. Source: PostgreSQL manual, appendix A.
RETRIED = {"55P03", "40P01"}
BACKOFF_SECONDS = 0.1
BACKOFF_MOST_SECONDS = 5.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How long a statement waits for a lock, in the queue where it holds others up, and an act outside."""

    lock_seconds: float = 0.1
    seconds: float = 600.0


def persist(
    act: Callable[[], Result],
    *,
    connection: BaseDatabaseWrapper,
    observer: Observer,
    patience: Patience,
    wanted: Collection[Lock],
    what: str,
    kept: str,
) -> Result:
    """Carry out an act again and again until it gets its locks, of which `wanted` are known.

    Whoever waits for a lock holds up everybody behind it. So it waits in the queue for an instant, and for what is in
    the way outside of it: before the first attempt where the locks are known, and after one that timed out. The whole
    act is attempted again, since a single statement would keep the locks before it while it waits. Where others come
    and go all the time, the attempts become rarer, so that the queue is theirs for most of it.
    Raises PatienceExhausted, which says `what` got no locks, and what of it is `kept`.
    """
    if connection.in_atomic_block:  # a test's; its locks are its own matter
        return act()
    deadline = time.monotonic() + patience.seconds
    backoff = BACKOFF_SECONDS
    times = 0
    in_the_way = _long_transactions(connection, observer, wanted, lock_seconds=patience.lock_seconds)
    while True:
        in_the_way = observer.wait_until_gone(in_the_way, deadline=deadline)
        if in_the_way:
            break
        observer.forget()
        try:
            # Set anew each time: what is SET in a transaction is undone when it rolls back.
            with locks.short_waits(connection, patience.lock_seconds):
                return act()
        except Error as error:
            if failures.sqlstate(error) not in RETRIED:
                raise
        times += 1
        in_the_way = observer.blocked_by
        if time.monotonic() > deadline:
            break
        if times > 1 or not in_the_way:
            time.sleep(random.uniform(backoff / 2, backoff))  # noqa: S311
            backoff = min(2 * backoff, BACKOFF_MOST_SECONDS)
    raise failures.PatienceExhausted(what, observer.describe(in_the_way), seconds=patience.seconds, kept=kept)


def _long_transactions(
    connection: BaseDatabaseWrapper, observer: Observer, wanted: Collection[Lock], *, lock_seconds: float
) -> frozenset[str]:
    """List the transactions in the way that are still there after the time that a statement would wait."""
    quoted = [(connection.ops.quote_name(lock.table), lock.mode) for lock in wanted]
    first = observer.holding(quoted) if quoted else NOBODY
    if first:
        time.sleep(lock_seconds)
    return first & observer.holding(quoted) if first else first
