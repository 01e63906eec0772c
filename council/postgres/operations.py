"""How lookups are written in SQL: dates in columns that hold UTC without a zone."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.backends.postgresql import operations


class DatabaseOperations(operations.DatabaseOperations):
    def _convert_sql_to_tz(
        self, sql: str, params: Sequence[Any], tzname: str | None
    ) -> tuple[str, Sequence[Any]]:
        """Shift a moment into a time zone, from a timestamp with or without one.

        `column AT TIME ZONE 'Europe/Berlin'` on a timestamp without zone reads it *as* Berlin time, hours off.
        The cast reads it as UTC, the session's zone (TimestampField checks that), and leaves a
        timestamptz alone.
        """
        if tzname and settings.USE_TZ:
            zone = self._prepare_tzname_delta(tzname)  # type: ignore[attr-defined]
            return f"({sql})::timestamptz AT TIME ZONE %s", (*params, zone)
        return sql, params
