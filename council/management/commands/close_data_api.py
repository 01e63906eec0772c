"""`manage.py close_data_api`: shut the gateway's tables to Supabase's data API, or open them again as they were."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from council import data_api


class Command(BaseCommand):
    help = "Shut the gateway's tables to Supabase's data API. Without --apply it says what it would do."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="do it")
        parser.add_argument("--undo", action="store_true", help="give again what the last closing took away")
        parser.add_argument("--patience", type=float, default=600.0, help="seconds to try for (600)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.close_or_open(**options)
        except data_api.Refused as error:
            raise CommandError(str(error)) from error

    def close_or_open(self, *, apply: bool, undo: bool, patience: float, **_: Any) -> None:
        given = data_api.last_closed() if undo else data_api.grants()
        statements = [grant.sql for grant in given] if undo else data_api.revokes(given)
        if not statements:
            self.stdout.write(
                "Nothing to do: neither anon, nor authenticated, nor PUBLIC has a right on them."
            )
            return
        for statement in statements:
            self.stdout.write(statement)
        if not undo and any(not grant.grantee for grant in given):
            self.stdout.write(
                "PUBLIC is everybody: make sure that the gateway's own role has rights of its own."
            )
        if not apply:
            self.stdout.write("Nothing was changed. Do it with --apply; take it back with --undo --apply.")
            return
        act = data_api.reopen if undo else data_api.close
        done = act(patience_seconds=patience, say=self.stderr.write)
        self.stdout.write(
            f"Done: {len(done)} grants {'given again' if undo else 'taken away'}, in one transaction, "
            f"and kept in the audit log."
        )
