"""`manage.py refresh_leaderboard`: recount the leaderboards' checkpoints."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from council.zero_downtime import failures
from gamification import leaderboard


class Command(BaseCommand):
    help = "Recount the leaderboards' checkpoints, which make low ranks quick to find. Run every few minutes."

    def handle(self, *args: Any, **options: Any) -> None:
        with failures.as_command_errors(connection, command="refresh_leaderboard"):
            count = leaderboard.refresh()
        self.stdout.write(f"{count} checkpoint{'' if count == 1 else 's'} counted.")
