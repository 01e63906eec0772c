"""Reading what PostgreSQL can hold and Python cannot: moments and days without end, JSON that is nested too deeply.

The gateway may have written any of them. One such value in one row must not keep a page from all members: it is read
as the nearest that Python has. Nothing writes it back, as pages write the columns that they change.
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

# Days may be added to either without leaving Python's calendar.
EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 25, tzinfo=UTC)
MAX_JSON_DEPTH = 64
# Python refuses to read integers that are longer than 4,300 digits.
MAX_DIGITS = 4_000
LONG_NUMBER = re.compile(rb"\d{%d}" % MAX_DIGITS)
# What may open or close a level, and strings, in which neither does.
JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')


def nearest(data: Buffer) -> datetime:
    """Read a moment or a day that is outside of Python's calendar, as the nearest inside."""
    text = bytes(data)
    return EARLIEST if text.startswith(b"-") or text.endswith(b"BC") else LATEST


def quick_loader(name: str) -> type[Any]:
    """Find psycopg's own loader of a type; it is written in C."""
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
    timezone = UTC  # Django puts its own loader in the place of one whose zone is another

    def load(self, data: Buffer) -> datetime:
        try:
            return super().load(data).astimezone(UTC)
        except (psycopg.DataError, OverflowError):
            return nearest(data)


class JsonLoader(TextLoader):
    """Give the text of a JSON value, for Django to read, or of a sentence that says why it cannot be."""

    def load(self, data: Buffer) -> Any:
        raw = bytes(data)
        if raw.count(b"[") + raw.count(b"{") > MAX_JSON_DEPTH and (depth := json_depth(raw)) > MAX_JSON_DEPTH:
            return f'"(not shown: {depth:,} levels deep)"'
        if len(raw) > MAX_DIGITS and LONG_NUMBER.search(raw):
            return '"(not shown: it holds a number of thousands of digits)"'
        return super().load(data)


def json_depth(data: bytes) -> int:
    """Count the levels of a JSON value; a number or a string has none."""
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
    """Copy a map of adapters, with the loaders of this module."""
    found = adapt.AdaptersMap(adapters)
    found.register_loader("timestamp", TimestampLoader)
    found.register_loader("timestamptz", TimestamptzLoader)
    found.register_loader("date", DateLoader)
    found.register_loader("jsonb", JsonLoader)
    return found
