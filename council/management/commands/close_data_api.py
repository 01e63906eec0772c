"""`manage.py close_data_api`: close the tables to Supabase's data API, or restore the earlier grants."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from council import data_api


class Command(BaseCommand):
    help = "Close the tables to Supabase's data API. Without --apply, only show what it would do."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--apply", action="store_true", help="make the changes")
        parser.add_argument("--undo", action="store_true", help="restore what the last closing revoked")
        parser.add_argument("--patience", type=float, default=600.0, help="seconds to try for locks (600)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.close_or_open(**options)
        except data_api.Refused as error:
            raise CommandError(str(error)) from error

    def close_or_open(self, *, apply: bool, undo: bool, patience: float, **_: Any) -> None:
        given = data_api.last_closed() if undo else data_api.grants()
        statements = [grant.sql for grant in given] if undo else data_api.revokes(given)
        if not statements:
            self.stdout.write("Nothing to do: anon, authenticated and PUBLIC have no rights on the tables.")
            return
        for statement in statements:
            self.stdout.write(statement)
        if not undo and any(not grant.grantee for grant in given):
            self.stdout.write(
                "PUBLIC means every role. Make sure that the gateway's role has its own rights."
            )
        if not apply:
            self.stdout.write("Nothing was changed. Use --apply to do it, and --undo --apply to reverse it.")
            return
        act = data_api.reopen if undo else data_api.close
        done = act(patience_seconds=patience, say=self.stderr.write)
        self.stdout.write(
            f"Done: {len(done)} grants {'restored' if undo else 'revoked'} in one transaction, "
            f"and recorded in the audit log."
        )
