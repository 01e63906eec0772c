"""How long the work of a statement takes on a server, estimated from counts and sizes.

The prices below are seconds on the machine that they were measured on (tests/performance/plan_durations.py); a server's
pace, measured by a query that touches no table, carries them over to it.
"""

import math
import time

from django.db.backends.base.base import BaseDatabaseWrapper

from council.zero_downtime.effects import Kind, Work

# Below this nobody notices.
INSTANT_SECONDS = 0.05

PROBE = """
    SELECT count(*) FROM (SELECT md5(n::text) AS word FROM generate_series(1, 20000) AS n ORDER BY word) AS words
"""
PROBE_SECONDS = 0.030


def pace(connection: BaseDatabaseWrapper) -> float:
    """Tell how many times as long as the reference machine a server takes. The best of three counts."""
    best = math.inf
    with connection.cursor() as cursor:
        for _ in range(3):
            began = time.perf_counter()
            cursor.execute(PROBE)
            best = min(best, time.perf_counter() - began)
    return best / PROBE_SECONDS


ROW_SECONDS = 0.05e-6
BYTE_SECONDS = 0.15e-9
KEY_SECONDS = 0.3e-6
SORT_SECONDS = 0.02e-6
ENTRY_SECONDS = {"btree": 0.15e-6, "gin": 0.8e-6}
REWRITE_SECONDS = 0.8e-6
CHANGE_SECONDS = 4e-6
INDEX_CHANGE_SECONDS = 2e-6
BATCH_SECONDS = 0.005


def seconds(work: Work, pace: float = 1.0) -> float:
    """Estimate what a piece of work takes."""
    read = work.rows * ROW_SECONDS + work.bytes * BYTE_SECONDS
    if work.kind is Kind.KEYS:
        read += (work.rows + work.parent_rows) * KEY_SECONDS
    elif work.kind is Kind.BUILD:
        if work.is_concurrent:
            read *= 2
        sort = work.entries * math.log2(work.entries + 1) * SORT_SECONDS
        read += work.entries * ENTRY_SECONDS.get(work.method, ENTRY_SECONDS["btree"]) + sort
    elif work.kind is Kind.REWRITE:
        read += work.rows * REWRITE_SECONDS
    elif work.kind is Kind.CHANGE:
        read += (
            work.rows * (CHANGE_SECONDS + work.indexes * INDEX_CHANGE_SECONDS) + work.batches * BATCH_SECONDS
        )
    return read * pace
