"""`manage.py run_scheduler`: a process that runs jobs when they are due, for hosts without cron."""

import logging
import signal
import subprocess
import sys
from typing import Any

from apscheduler.schedulers.blocking import BlockingScheduler
from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, close_old_connections

from council import jobs

LOOK_SECONDS = 15

logger = logging.getLogger("council.jobs")


class Command(BaseCommand):
    help = (
        "Check every 15 seconds which jobs are due, and run each in its own process, so that a job that hangs or uses "
        "much memory stops no other. Several schedulers may run. After SIGTERM it waits for running jobs, then ends."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        scheduler = BlockingScheduler(timezone="UTC")
        for name, job in jobs.JOBS.items():
            if job.is_on():
                scheduler.add_job(
                    self.look,
                    "interval",
                    [job],
                    id=name,
                    seconds=LOOK_SECONDS,
                    jitter=LOOK_SECONDS // 3,
                    coalesce=True,
                    max_instances=1,
                )
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        self.stdout.write(
            f"Checking every {LOOK_SECONDS} s: {', '.join(job.id for job in scheduler.get_jobs())}."
        )
        try:
            scheduler.start()
        except (KeyboardInterrupt, SystemExit):
            scheduler.shutdown()  # waits for running jobs
            self.stdout.write("Ended.")

    def look(self, job: jobs.Job) -> None:
        """Run a job in its own process if it is due. If the database does not answer, try again next time."""
        close_old_connections()
        try:
            is_due = jobs.state(job).is_due
        except DatabaseError as error:
            logger.warning("The database did not say whether %s is due: %s", job.name, error)
            return
        finally:
            close_old_connections()
        if is_due:
            command = [sys.executable, "manage.py", "run_due_jobs", "--only", job.name]
            subprocess.run(command, check=False, cwd=settings.BASE_DIR)  # noqa: S603  # the project's own command
