"""Runs of jobs: when one may begin, what is recorded about it, and which jobs are due.

All times come from the database's clock, so a machine with a wrong clock starts no job early or twice. If the
database's own clock was ahead and is corrected, runs with times in the future do not block later runs.
"""

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from council.jobs.lease import LEASE_MINUTES, Run, database_clock
from council.jobs.registry import JOBS, Job
from council.models import JobRun

# A failed job is retried after 1, 2, 4 … minutes, or when its schedule is due, if that is sooner.
MAX_RETRY_MINUTES = 60
# An error is logged after this many failures in a row, and again each time the number has doubled.
TOLD_FAILURES = 3
MAX_ERROR_LENGTH = 2_000
# A run that began more than this in the future was recorded while the database's clock was wrong.
CLOCK_TOLERANCE = timedelta(minutes=1)

logger = logging.getLogger("council.jobs")

END_LOST = """
    UPDATE "JobRun"
       SET "endedAt" = now() AT TIME ZONE 'UTC',
           outcome = 'LOST',
           error = 'The run did not report for ' || %(minutes)s || ' minutes. It was killed, or it hangs.'
     WHERE job = %(job)s
       AND "endedAt" IS NULL
       AND ("leaseUntil" < now() AT TIME ZONE 'UTC'
            -- No lease is that long. It was renewed while the clock was ahead.
            OR "leaseUntil" > now() AT TIME ZONE 'UTC' + make_interval(mins => 2 * %(minutes)s))
"""
BEGIN = """
    INSERT INTO "JobRun" (job, "startedAt", "leaseUntil", counts, notes, host)
    VALUES (%(job)s,
            now() AT TIME ZONE 'UTC',
            now() AT TIME ZONE 'UTC' + make_interval(mins => %(minutes)s),
            '{}',
            '[]',
            %(host)s)
        ON CONFLICT (job) WHERE "endedAt" IS NULL DO NOTHING
    RETURNING id
"""


def run(job: Job, *, ends_process: bool = False) -> JobRun | None:
    """Run a job now and return its record. Returns None if a run of the job is active."""
    return _run(job, only_if_due=False, ends_process=ends_process)


def run_if_due(job: Job, *, ends_process: bool = False) -> JobRun | None:
    """Run a job if it is due and return its record. Returns None if it is not due, or if a run is active."""
    return _run(job, only_if_due=True, ends_process=ends_process)


def _run(job: Job, *, only_if_due: bool, ends_process: bool) -> JobRun | None:
    run_id = _begin(job, only_if_due=only_if_due)
    if run_id is None:
        return None
    lease = Run(run_id, job.name, ends_process=ends_process)
    try:
        counts = job.act(lease)
    except Exception as error:  # any error is recorded, and must not stop the other jobs
        logger.warning("%s failed", job.name, exc_info=True)
        _end(lease, JobRun.Outcome.FAILED, error=f"{type(error).__name__}: {error}")
        _tell(job)
    else:
        _end(lease, JobRun.Outcome.DONE, counts=counts)
    finally:
        lease.end()
    return JobRun.objects.get(pk=run_id)


def _begin(job: Job, *, only_if_due: bool) -> int | None:
    given: dict[str, str | int] = {
        "job": job.name,
        "minutes": LEASE_MINUTES,
        "host": f"{socket.gethostname()}:{os.getpid()}",
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(END_LOST, given)
        is_lost = bool(cursor.rowcount)
        # The new row keeps others from beginning a run, so the answer to "is it due?" cannot change.
        cursor.execute(BEGIN, given)
        row = cursor.fetchone()
        if row and only_if_due and not state(job, without=row[0]).is_due:
            JobRun.objects.filter(pk=row[0]).delete()
            row = None
    if is_lost:
        _tell(job)
    return row[0] if row else None


def _end(
    lease: Run, outcome: str, *, counts: Mapping[str, int] | None = None, error: str | None = None
) -> None:
    """Record how a run ended. If it is recorded as lost already, keep that."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()  # a lost connection may be why the job failed
    JobRun.objects.filter(pk=lease.id, ended_at__isnull=True).update(
        ended_at=database_clock(),
        outcome=outcome,
        counts=dict(counts or {}),
        notes=lease.notes,
        error=error[:MAX_ERROR_LENGTH].replace("\0", "") if error else None,
    )


def _tell(job: Job) -> None:
    """Log an error if a job keeps failing: at the 3rd failure in a row, the 6th, the 12th and so on."""
    failures = failures_in_a_row(job)
    times, rest = divmod(failures, TOLD_FAILURES)
    if rest == 0 and times.bit_count() == 1:
        last = JobRun.objects.filter(job=job.name, ended_at__isnull=False).latest("pk")
        logger.error("%s has failed %s times in a row. The last error: %s", job.name, failures, last.error)


def failures_in_a_row(job: Job) -> int:
    ended = JobRun.objects.filter(job=job.name, ended_at__isnull=False)
    last_done = ended.filter(outcome=JobRun.Outcome.DONE).order_by("-pk").first()
    return ended.filter(pk__gt=last_done.pk if last_done else 0).count()


@dataclass(frozen=True)
class State:
    """A job with its last run, if any, and the time when it is due."""

    job: Job
    last: JobRun | None
    due_at: datetime | None
    now: datetime

    @property
    def is_due(self) -> bool:
        return self.due_at is not None and self.due_at <= self.now

    @property
    def is_overdue(self) -> bool:
        return self.due_at is not None and self.due_at + self.job.schedule.grace < self.now


def states() -> list[State]:
    """Return the state of each job that is enabled."""
    return [state(job) for job in JOBS.values() if job.is_on()]


def state(job: Job, *, without: int | None = None) -> State:
    """Return the state of a job. `without` is the id of a run to ignore, because it only asks whether it may run."""
    now = database_clock()
    runs = JobRun.objects.filter(job=job.name, started_at__lte=now + CLOCK_TOLERANCE).exclude(pk=without or 0)
    last = runs.order_by("-started_at", "-pk").first()
    if last is None:
        return State(job, last, now, now)
    due_at = job.schedule.next_after(last.started_at)
    if last.ended_at is None:
        due_at = max(due_at, last.lease_until)
    elif last.outcome != JobRun.Outcome.DONE:
        exponent = max(failures_in_a_row(job) - 1, 0)
        minutes = min(2 ** min(exponent, 10), MAX_RETRY_MINUTES)
        due_at = min(due_at, last.ended_at + timedelta(minutes=minutes))
    return State(job, last, due_at, now)
