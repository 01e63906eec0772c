"""`manage.py jobs`: the scheduled jobs, when each last ran, and when it is due."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from council import jobs
from council.postgres import units
from council.zero_downtime import failures


class Command(BaseCommand):
    help = "List the scheduled jobs with the result of their last run, and when they are due."

    def handle(self, *args: Any, **options: Any) -> None:
        with failures.as_command_errors(connection, command="jobs"):
            states = jobs.states()
        for state in states:
            self.stdout.write(self.style.MIGRATE_HEADING(f"{state.job.name}, {state.job.schedule}"))
            self.stdout.write(f"  {state.job.what}")
            self.stdout.write(f"  {self.last_run(state)}")
            self.stdout.write(f"  {self.due(state)}")
        for job in jobs.JOBS.values():
            if not job.is_on():
                self.stdout.write(f"{job.name} is off: its settings are not set (docs/settings.md).")

    def last_run(self, state: jobs.State) -> str:
        last = state.last
        if last is None:
            return "It has not run yet."
        began = f"{last.started_at:%Y-%m-%d %H:%M:%S} UTC on {last.host}"
        if last.seconds is None:
            return f"It has been running since {began}."
        if last.outcome == last.Outcome.DONE:
            counted = f": {last.counted}" if last.counted else ""
            return self.style.SUCCESS(f"Done in {units.duration(last.seconds)}, started {began}{counted}.")
        return self.style.ERROR(f"Failed after {units.duration(last.seconds)}, started {began}: {last.error}")

    def due(self, state: jobs.State) -> str:
        if state.is_overdue:
            return self.style.ERROR(
                f"Overdue since {state.due_at:%Y-%m-%d %H:%M} UTC. Does anything call `manage.py run_due_jobs`?"
            )
        return "Due now." if state.is_due else f"Due at {state.due_at:%Y-%m-%d %H:%M} UTC."
