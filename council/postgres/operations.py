"""SQL for lookups by date in columns that hold UTC without a time zone."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.backends.postgresql import operations


class DatabaseOperations(operations.DatabaseOperations):
    def _convert_sql_to_tz(
        self, sql: str, params: Sequence[Any], tzname: str | None
    ) -> tuple[str, Sequence[Any]]:
        """Convert a timestamp, with or without time zone, to a time zone.

        On a timestamp without time zone, `column AT TIME ZONE 'Europe/Berlin'` would interpret it as Berlin time,
        hours off. The cast interprets it as UTC, the session's time zone (TimestampField checks that), and does
        not change a timestamptz.
        """
        if tzname and settings.USE_TZ:
            zone = self._prepare_tzname_delta(tzname)  # type: ignore[attr-defined]
            return f"({sql})::timestamptz AT TIME ZONE %s", (*params, zone)
        return sql, params
