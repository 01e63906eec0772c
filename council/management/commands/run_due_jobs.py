"""`manage.py run_due_jobs`: run the jobs that are due. Cron should call it every minute."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from council import jobs
from council.models import JobRun
from council.zero_downtime import failures


class Command(BaseCommand):
    help = (
        "Run the jobs that are due, one after the other. Skip a job that another process is running. "
        "The exit status is 1 if a job failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--only", metavar="JOB", help="Run only this job.")
        parser.add_argument("--now", action="store_true", help="With --only: run it even if it is not due.")

    def handle(self, *args: Any, only: str | None, now: bool, **options: Any) -> None:
        if now and not only:
            raise CommandError("--now needs the name of one job. Add --only JOB.")
        chosen = [self.job(only)] if only else [job for job in jobs.JOBS.values() if job.is_on()]
        has_failed = False
        with failures.as_command_errors(connection, command="run_due_jobs"):
            for job in chosen:
                act = jobs.run if now else jobs.run_if_due
                run = act(job, ends_process=True)
                if run:
                    self.tell(run)
                    has_failed = has_failed or run.outcome != JobRun.Outcome.DONE
                elif only:
                    self.stdout.write(f"{job.name} is not due, or another process is running it.")
        if has_failed:
            sys.exit(1)

    def job(self, name: str) -> jobs.Job:
        job = jobs.JOBS.get(name)
        if job is None:
            raise CommandError(f"There is no job {name!r}. The jobs are {', '.join(jobs.JOBS)}.")
        if not job.is_on():
            raise CommandError(f"The job {name} is off: its settings are not set (docs/settings.md).")
        return job

    def tell(self, run: JobRun) -> None:
        if run.outcome == JobRun.Outcome.DONE:
            self.stdout.write(f"{run.job}: {run.counted or 'done'}")
        else:
            self.stderr.write(f"{run.job} failed: {run.error}")
