"""Retries an action until it gets its locks in a database that is in use."""

import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeVar

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from council.zero_downtime import failures, session_settings
from council.zero_downtime.lock_modes import Lock
from council.zero_downtime.observer import NOBODY, Observer

# lock_not_available and deadlock_detected. Source: PostgreSQL manual, appendix A.
RETRIED = {"55P03", "40P01"}
BACKOFF_SECONDS = 0.1
BACKOFF_MOST_SECONDS = 5.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Patience:
    """How long one statement waits in a lock queue, where it blocks others, and how long an action retries in all."""

    lock_seconds: float = 0.1
    seconds: float = 600.0


def retry(
    act: Callable[[], Result],
    *,
    connection: BaseDatabaseWrapper,
    observer: Observer,
    patience: Patience,
    wanted: Collection[Lock],
    what: str,
    kept: str,
) -> Result:
    """Retry an action until it gets its locks. `wanted` are the locks known in advance.

    A session that waits for a lock also blocks everybody behind it in the queue. So the action waits in the queue only
    for an instant. Outside the queue, it waits for the blocking transactions to end: before the first attempt if the
    locks are known, and after each timeout. A retry repeats the whole action, since retrying one statement would keep
    the locks of the earlier ones. Under constant traffic, attempts become rarer and leave the queue to others.
    Raises PatienceExhausted, whose message names `what` did not get its locks, and what is `kept`.
    """
    if connection.in_atomic_block:  # only in tests: run it once, without retries
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
            # Set again each time: a rollback undoes what was SET in the transaction.
            with session_settings.short_lock_waits(connection, patience.lock_seconds):
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
    """List the blocking transactions that last longer than a statement would wait."""
    quoted = [(connection.ops.quote_name(lock.table), lock.mode) for lock in wanted]
    first = observer.holding(quoted) if quoted else NOBODY
    if first:
        time.sleep(lock_seconds)
    return first & observer.holding(quoted) if first else first
