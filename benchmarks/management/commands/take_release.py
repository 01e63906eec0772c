"""`manage.py take_release`: take the release of each month that is over and has none."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, date, datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from benchmarks import flags, releases
from council.zero_downtime import failures


def month(text: str) -> date:
    """Parse a month such as 2026-10."""
    try:
        return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a month. Write it as 2026-10.") from error


class Command(BaseCommand):
    help = (
        "Take the benchmark release of each month that is over and has none, as of that month's end. Run it daily: "
        "a second run, or one on another machine, does nothing. If a run is killed, run it again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--month", type=month, help="The only month to take, such as 2026-10. The month must be over."
        )

    def handle(self, *args: Any, month: date | None, **options: Any) -> None:
        with failures.as_command_errors(connection, command="take_release"):
            try:
                flags.receive_waiting()  # the gateway's answers count from the time when they were written
                months = [month] if month else releases.due()
                if not months:
                    self.stdout.write("Every month that is over has its release.")
                for due in months:
                    self._take(due)
            except (releases.MonthNotOver, releases.OutOfOrder, ImproperlyConfigured) as fault:
                raise CommandError(str(fault)) from fault

    def _take(self, month: date) -> None:
        release = releases.take(month=month)
        if release is None:
            self.stdout.write(f"The release of {month:%B %Y} is out already.")
            return
        withheld = len(releases.withheld(release))
        published = release.figures.count() - withheld
        self.stdout.write(f"{month:%B %Y}: {published} figures published, {withheld} withheld.")
