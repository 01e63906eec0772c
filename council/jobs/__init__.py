"""What must happen by the clock: jobs, run by `manage.py run_due_jobs` or `manage.py run_scheduler`.

A job is a function that is given its run and returns what it counted. It is idempotent: it may run twice, late, and
again after it was killed at any point. An app registers its jobs in its module `jobs`, which its AppConfig imports:

    @jobs.register("refresh_leaderboard", jobs.Every(minutes=5))
    def refresh_leaderboard(run: jobs.Run) -> jobs.Counts:
        return {"checkpoints": leaderboard.refresh()}

At most one run of a job is at work at any time, on any number of machines: the row of its run in the database is its
lease. A run renews it with `run.report()`, at least every ten minutes; otherwise it is taken for dead, and the job may
begin again.
"""

from council.jobs import housekeeping  # noqa: F401  # registers its job
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
