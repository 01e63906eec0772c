"""The lease of a run. While the run renews it, no other run of the job can begin."""

import logging
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from django.db import connection

LEASE_MINUTES = 10
EXIT_STATUS_HUNG = 70

logger = logging.getLogger("council.jobs")

REPORT = """
    UPDATE "JobRun"
       SET "leaseUntil" = now() AT TIME ZONE 'UTC' + make_interval(mins => %(minutes)s)
     WHERE id = %(id)s
       AND "endedAt" IS NULL
"""


class LeaseLost(Exception):
    """The run did not report for too long and is considered dead. Another run may be active."""


def database_clock() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now.astimezone(UTC)


class Run:
    """The run that a job receives, with its lease.

    With `ends_process`, a run that does not report in time ends its process. The process must run only this job.
    """

    def __init__(self, run_id: int, job_name: str, *, ends_process: bool) -> None:
        self.id = run_id
        self.job_name = job_name
        self.ends_process = ends_process
        self.notes: list[str] = []
        self._watchdog: threading.Timer | None = None
        self._watch()

    def report(self) -> None:
        """Renew the lease. Raises LeaseLost.

        Within a transaction, this also locks the run's row until the transaction ends, so the run cannot be declared
        dead before its changes are committed.
        """
        with connection.cursor() as cursor:
            cursor.execute(REPORT, {"id": self.id, "minutes": LEASE_MINUTES})
            if not cursor.rowcount:
                raise LeaseLost(
                    f"{self.job_name} did not report for {LEASE_MINUTES} minutes, so its lease has ended. "
                    f"What it committed stays; the next run continues from there."
                )
        self._watch()

    def note(self, notes: Sequence[str]) -> None:
        """Add sentences for staff to the record of the run."""
        self.notes += notes

    def end(self) -> None:
        if self._watchdog:
            self._watchdog.cancel()

    def _watch(self) -> None:
        self.end()
        if self.ends_process:
            self._watchdog = threading.Timer(LEASE_MINUTES * 60, self._give_up)
            self._watchdog.daemon = True
            self._watchdog.start()

    def _give_up(self) -> None:
        logger.error(
            "%s has not reported for %s minutes. Its process ends now; what it committed stays.",
            self.job_name,
            LEASE_MINUTES,
        )
        os._exit(EXIT_STATUS_HUNG)
