"""Scheduled jobs, run by `manage.py run_due_jobs` or `manage.py run_scheduler`.

A job is a function that receives its run and returns its counts. It must be idempotent: it may run twice, late, or
again after it was killed at any point. An app registers its jobs in its module `jobs`, which its AppConfig imports:

    @jobs.register("refresh_leaderboard", jobs.Every(minutes=5))
    def refresh_leaderboard(run: jobs.Run) -> jobs.Counts:
        return {"checkpoints": leaderboard.refresh()}

At most one run of a job is active at any time, on any number of machines. The run's row in the database is its lease.
The run must renew the lease with `run.report()` at least every ten minutes. Otherwise it is considered dead, and the
job may start again.
"""

from council.jobs import housekeeping  # noqa: F401  # importing it registers its job
from council.jobs.lease import LeaseLost, Run
from council.jobs.registry import JOBS, Counts, Job, register
from council.jobs.runs import State, run, run_if_due, state, states
from council.jobs.schedules import Daily, Every, Monthly

__all__ = [
    "JOBS",
    "Counts",
    "Daily",
    "Every",
    "Job",
    "LeaseLost",
    "Monthly",
    "Run",
    "State",
    "register",
    "run",
    "run_if_due",
    "state",
    "states",
]
