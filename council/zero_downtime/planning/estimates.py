"""Estimates how long a statement's work takes, from row counts and sizes.

The constants below are seconds on a reference machine (tests/performance/plan_durations.py). They are multiplied by a
server's pace, which is measured with a query that reads no table.
"""

import math
import time

from django.db.backends.base.base import BaseDatabaseWrapper

from council.zero_downtime.planning.effects import Kind, Work

# Shorter waits are not noticed.
INSTANT_SECONDS = 0.1

PROBE = """
    SELECT count(*) FROM (SELECT md5(n::text) AS word FROM generate_series(1, 20000) AS n ORDER BY word) AS words
"""
PROBE_SECONDS, TRIES = 0.0075, 10


def pace(connection: BaseDatabaseWrapper) -> float:
    """Measure how many times slower a server is than the reference machine. The best of several tries counts."""
    best = math.inf
    with connection.cursor() as cursor:
        for _ in range(TRIES):
            began = time.perf_counter()
            cursor.execute(PROBE)
            best = min(best, time.perf_counter() - began)
    return best / PROBE_SECONDS


ROW_SECONDS = 0.02e-6
CONDITION_SECONDS = 0.05e-6
BYTE_SECONDS = 0.3e-9
KEY_SECONDS = 0.19e-6
# Sorting costs this for each row, times log2 of the number of rows. Longer entries cost more.
COMPARE_SECONDS, COMPARE_BYTE_SECONDS = 0.010e-6, 0.0009e-6
BTREE_ENTRY_SECONDS, GIN_ENTRY_SECONDS = 0.15e-6, 0.27e-6
CONCURRENT_SECONDS = 0.02  # three transactions, each written to disk
REWRITE_SECONDS = 1.3e-6
CHANGE_SECONDS = CHANGE_INDEX_SECONDS = 3e-6
# Per row that Python code reads, changes and saves one by one.
ROW_BY_ROW_SECONDS = 0.1e-3
# Per batch, which is one transaction, and per row in it, which is looked up by its key.
BATCH_SECONDS, BATCH_CHANGE_SECONDS = 0.0015, 0.05e-3


def seconds(work: Work, pace: float = 1.0) -> float:
    """Estimate the duration of a piece of work."""
    return _seconds(work) * pace


def _seconds(work: Work) -> float:
    scan = work.rows * ROW_SECONDS + work.bytes * BYTE_SECONDS
    if work.kind is Kind.KEYS:
        # A few keys are looked up one by one; NULLs are not looked up.
        return scan + (work.entries + min(work.parent_rows, 20 * work.entries)) * KEY_SECONDS
    if work.kind is Kind.BUILD:
        condition = work.rows * CONDITION_SECONDS if work.is_partial else 0
        return (2 * scan + CONCURRENT_SECONDS if work.is_concurrent else scan) + condition + _entries(work)
    if work.kind is Kind.REWRITE:
        return scan + work.rows * REWRITE_SECONDS
    if work.kind is Kind.CHANGE and work.batches:
        return scan + work.batches * BATCH_SECONDS + work.entries * BATCH_CHANGE_SECONDS
    if work.kind is Kind.CHANGE:
        return scan + work.entries * (CHANGE_SECONDS + work.indexes * CHANGE_INDEX_SECONDS)
    return scan


def _entries(work: Work) -> float:
    if work.method == "gin":
        return work.entries * GIN_ENTRY_SECONDS
    compare = COMPARE_SECONDS + work.entry_bytes * COMPARE_BYTE_SECONDS
    if work.is_sorted:
        compare /= 2
    return work.entries * (BTREE_ENTRY_SECONDS + math.log2(work.entries + 1) * compare)
