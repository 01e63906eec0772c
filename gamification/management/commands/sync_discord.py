"""`manage.py sync_discord`: read MEE6's leaderboard now, and pay what is owed for Discord activity."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = (
        "Read MEE6's leaderboard, and pay members for each 100 XP that they gained. You can run it at any time, twice, "
        "and on several machines. `run_due_jobs` does it every 15 minutes."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("run_due_jobs", only="sync_discord", now=True, stdout=self.stdout, stderr=self.stderr)
