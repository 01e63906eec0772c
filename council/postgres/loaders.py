"""Loaders for values that PostgreSQL can hold and Python cannot: infinite times and dates, deeply nested JSON.

The gateway may have written such values, and a single one must not break a page for all members. It is read as the
nearest value that Python has. It is never written back, because pages save only the columns that they change.
"""

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import adapt, pq
from psycopg.abc import AdaptContext, Buffer
from psycopg.types import datetime as datetime_types
from psycopg.types.string import TextLoader

# A few days can be added or subtracted without an overflow in Python.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 25, tzinfo=UTC)
MAX_JSON_DEPTH = 64
# Python refuses to read integers of more than 4,300 digits.
MAX_DIGITS = 4_000
LONG_NUMBER = re.compile(rb"\d{%d}" % MAX_DIGITS)
# Matches brackets, and whole strings, because brackets in strings do not count.
JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def nearest(data: Buffer) -> datetime:
    """Return the nearest time that Python can represent for a time or date that it cannot."""
    text = bytes(data)
    return EARLIEST if text.startswith(b"-") or text.endswith(b"BC") else LATEST


def quick_loader(name: str) -> type[Any]:
    """Return psycopg's own loader for a type, which is written in C."""
    found = psycopg.adapters.get_loader(psycopg.postgres.types[name].oid, pq.Format.TEXT)
    assert found
    return found


class _Tolerant(adapt.Loader):
    type_name: str

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._read = quick_loader(self.type_name)(oid, context).load


class TimestampLoader(_Tolerant):
    type_name = "timestamp"

    def load(self, data: Buffer) -> datetime:
        try:
            return self._read(data)  # type: ignore[no-any-return]
        except psycopg.DataError:
            return nearest(data).replace(tzinfo=None)


class DateLoader(_Tolerant):
    type_name = "date"

    def load(self, data: Buffer) -> date:
        try:
            return self._read(data)  # type: ignore[no-any-return]
        except psycopg.DataError:
            return nearest(data).date()


class TimestamptzLoader(datetime_types.TimestamptzLoader):
    timezone = UTC  # otherwise Django would replace this loader

    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data).astimezone(UTC)
        except (psycopg.DataError, OverflowError):
            return nearest(data)


class JsonLoader(TextLoader):
    """Return the text of a JSON value for Django to parse, or a JSON string that says why it is not shown."""

    def load(self, data: Buffer) -> Any:
        raw = bytes(data)
        if raw.count(b"[") + raw.count(b"{") > MAX_JSON_DEPTH and (depth := json_depth(raw)) > MAX_JSON_DEPTH:
            return f'"(not shown: {depth:,} levels deep)"'
        if len(raw) > MAX_DIGITS and LONG_NUMBER.search(raw):
            return '"(not shown: it contains a number with thousands of digits)"'
        return super().load(data)


def json_depth(data: bytes) -> int:
    """Return the nesting depth of a JSON value; 0 for a number or a string."""
    depth = deepest = 0
    for token in JSON_TOKEN.finditer(data):
        if token[0] in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in (b"]", b"}"):
            depth -= 1
    return deepest


@lru_cache(maxsize=8)
def tolerant(adapters: adapt.AdaptersMap) -> adapt.AdaptersMap:
    """Copy a map of adapters, and add the loaders of this module."""
    found = adapt.AdaptersMap(adapters)
    found.register_loader("timestamp", TimestampLoader)
    found.register_loader("timestamptz", TimestamptzLoader)
    found.register_loader("date", DateLoader)
    found.register_loader("jsonb", JsonLoader)
    return found
