"""The lease of a run: while it is renewed, no other run of the job begins."""

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
    """The run was taken for dead, since it had not reported for too long. Another one may be at work."""


def database_clock() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
    return moment.astimezone(UTC)


class Run:
    """What a job is given: the lease of its run.

    Where the process is the job's own, one that does not report ends with its process (`ends_process`).
    """

    def __init__(self, run_id: int, job_name: str, *, ends_process: bool) -> None:
        self.id = run_id
        self.job_name = job_name
        self.ends_process = ends_process
        self.notes: list[str] = []
        self._watchdog: threading.Timer | None = None
        self._watch()

    def report(self) -> None:
        """Say that the run is at work. Raises LeaseLost.

        In a transaction, this also holds the lease until the transaction ends: nobody takes the run for dead before
        what it wrote is committed.
        """
        with connection.cursor() as cursor:
            cursor.execute(REPORT, {"id": self.id, "minutes": LEASE_MINUTES})
            if not cursor.rowcount:
                raise LeaseLost(
                    f"{self.job_name} did not report for {LEASE_MINUTES} minutes and was taken for dead. "
                    f"What it had committed stays; the next run goes on."
                )
        self._watch()

    def note(self, notes: Sequence[str]) -> None:
        """Keep sentences for staff to read in the record of the run."""
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
            "%s has not reported for %s minutes. Its process ends now; what it had committed stays.",
            self.job_name,
            LEASE_MINUTES,
        )
        os._exit(EXIT_STATUS_HUNG)
