"""`manage.py makemigrations`: Django's own command, but it writes only steps that are safe for a database in use.

It refuses changes for which there are no such steps. It does not start the embedded server to check the history.
"""

import warnings
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import makemigrations
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.migration import Migration

from council.zero_downtime.derivation.autodetector import Autodetector, Refused
from council.zero_downtime.derivation.writer import Writer


class Command(makemigrations.Command):
    help = "Write migrations for changed models: one step per file, each safe for a database in use."
    autodetector = Autodetector

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--forget",
            action="store_true",
            help="Remove from Django's state what was removed from the models. The database keeps it for running code.",
        )
        parser.add_argument(
            "--drop",
            action="store_true",
            help="Drop what an earlier release forgot. Use it when no running process needs it any more.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["update"]:
            raise CommandError(
                "--update would put several steps into one migration. Delete the files that are not applied anywhere "
                "yet, and run makemigrations again."
            )
        if options["forget"] and options["drop"]:
            raise CommandError(
                "--forget and --drop belong to two releases, because old processes still run while a release is "
                "deployed. Use only --forget now."
            )

        class Chosen(Refusing):
            forgets = options["forget"]
            drops = options["drop"]

        self.autodetector = Chosen  # type: ignore[misc]
        connection: Any = connections[DEFAULT_DB_ALIAS]
        connection.may_start_embedded_server = False
        # Django's command has no hook to replace its writer.
        stock = makemigrations.MigrationWriter  # type: ignore[attr-defined]
        makemigrations.MigrationWriter = Writer  # type: ignore[attr-defined]
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Got an error checking a consistent migration history")
                super().handle(*args, **options)
        finally:
            makemigrations.MigrationWriter = stock  # type: ignore[attr-defined]
            connection.may_start_embedded_server = True


class Refusing(Autodetector):
    def changes(
        self,
        graph: MigrationGraph,
        trim_to_apps: set[str] | None = None,
        convert_apps: set[str] | None = None,
        migration_name: str | None = None,
    ) -> dict[str, list[Migration]]:
        found = super().changes(graph, trim_to_apps, convert_apps, migration_name)
        if self.refusals:
            raise Refused(self.refusals)
        return found
