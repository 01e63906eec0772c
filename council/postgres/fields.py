"""Columns as Prisma creates them: text ids, native enums, and timestamps without time zone that hold UTC."""

import itertools
import os
import secrets
import socket
import string
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import Combinable
from django.utils import timezone

HALF_A_MILLISECOND = timedelta(microseconds=500)
BASE36 = string.digits + string.ascii_lowercase
# Digits are converted in pairs, for speed: one call may need thousands of ids.
BASE36_PAIRS = [first + second for first in BASE36 for second in BASE36]


def base36(number: int, *, width: int) -> str:
    """Write the last `width` base-36 digits of a number, zero-padded. `width` must be even."""
    digits = ""
    while len(digits) < width:
        digits = BASE36_PAIRS[number % 36**2] + digits
        number //= 36**2
    return digits


_cuid_counter = itertools.count(secrets.randbelow(36**4))
_hostname_checksum = zlib.crc32(socket.gethostname().encode())


def cuid() -> str:
    """Create an id of 25 characters: `c`, time in ms (8), counter (4), process (2), host (2), random (8).

    Source: the cuid specification, version 1, which Prisma's `cuid()` follows.
    """
    return (
        "c"
        + base36(time.time_ns() // 1_000_000, width=8)
        + base36(next(_cuid_counter), width=4)
        + base36(os.getpid(), width=2)
        + base36(_hostname_checksum, width=2)
        + base36(secrets.randbelow(36**8), width=8)
    )


class CuidField(models.TextField):
    """A text primary key that Python fills with a cuid."""

    description = "cuid"
    has_like_index = False  # the gateway's tables have none, and a cuid is never searched by a part of it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= {"primary_key": True, "default": cuid, "editable": False}
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        for implied in ("primary_key", "default", "editable"):
            del kwargs[implied]
        return name, path, list(args), kwargs


class EnumField(models.TextField):
    """A column of a native enum type.

    `choices` gives the labels' display names. They are left out of migrations, where CreateEnum defines the labels.
    Saving or comparing a value that is not a choice raises ValueError, before any SQL is sent.
    """

    description = "PostgreSQL enum"

    def __init__(self, *args: Any, enum: str, **kwargs: Any) -> None:
        self.enum = enum
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, list[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("choices", None)
        return name, path, list(args), {**kwargs, "enum": self.enum}

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return connection.ops.quote_name(self.enum)

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        if value is None or isinstance(value, Combinable) or not self.choices:
            return value
        labels = [label for label, _ in self.flatchoices]
        if value not in labels:
            raise ValueError(f"{value!r} is not a label of {self.enum}. Use one of {', '.join(labels)}.")
        return value


class TimestampField(models.DateTimeField):
    """A UTC time in a `timestamp(3)` column without time zone, precise to the millisecond.

    In Python, values are always aware datetimes. Lookups by date interpret the column in the session's time zone,
    so that must be UTC. It is in Django, unless the settings change it.
    """

    description = "UTC timestamp in milliseconds"

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        return [*super().check(**kwargs), *self._check_zone()]

    def _check_zone(self) -> Iterator[checks.CheckMessage]:
        for alias in connections:
            zone = connections[alias].timezone_name
            if not settings.USE_TZ or zone != "UTC":
                yield checks.Error(
                    f"The column holds UTC, but the sessions of the database {alias!r} are in {zone}"
                    f"{'' if settings.USE_TZ else ', with USE_TZ off'}: lookups by date would be hours off.",
                    hint=f"Set USE_TZ = True, and no TIME_ZONE in DATABASES[{alias!r}].",
                    obj=self,
                    id="council.E002",
                )

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "timestamp(3)"

    def from_db_value(self, value: datetime | None, *_: Any) -> datetime | None:
        # Values of Trunc* are already aware here, in the requested time zone.
        return value if value is None or value.tzinfo else value.replace(tzinfo=UTC)

    def get_db_prep_value(
        self,
        value: Any,
        connection: BaseDatabaseWrapper,
        prepared: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        if not isinstance(value, datetime):
            return value
        # Round as PostgreSQL does, so that a saved value equals the one that is compared with it.
        # Do not round up beyond the year 9999, the last that Python can represent.
        if value.replace(tzinfo=UTC) <= datetime.max.replace(tzinfo=UTC) - HALF_A_MILLISECOND:
            value += HALF_A_MILLISECOND
        value = value.replace(microsecond=value.microsecond // 1000 * 1000)
        return timezone.make_naive(value, UTC) if timezone.is_aware(value) else value


class CurrentTimestamp(models.Func):
    """CURRENT_TIMESTAMP as a column default, like Prisma's `now()`. Django's Now() is STATEMENT_TIMESTAMP()."""

    template = "CURRENT_TIMESTAMP"
    output_field = TimestampField()


class EmptyTextArray(models.Func):
    """`ARRAY[]::text[]` as a column default, exactly as the gateway's schema has it."""

    template = "ARRAY[]::text[]"
    output_field = models.Field()
