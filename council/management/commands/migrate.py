"""`manage.py migrate`: Django's own, made safe for a database that another application is using."""

import functools
import os
import re
import time
from argparse import ArgumentTypeError
from typing import Any, TextIO, cast

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import InconsistentMigrationHistory

from council.zero_downtime import failures, interruption, locks, pooler, row_level_security, turns
from council.zero_downtime.autodetector import Autodetector
from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.blockers import duration
from council.zero_downtime.executor import Executor
from council.zero_downtime.observer import Observer
from council.zero_downtime.patience import Patience, persist
from council.zero_downtime.plan import ACCESS_EXCLUSIVE, Lock
from council.zero_downtime.report import Report

UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Read a duration: 100ms, 2s, 10min; a number alone is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|)", text.strip())
    if not match:
        raise ArgumentTypeError(f"{text!r} is not a duration. Write it as 100ms, 2s or 10min.")
    return float(match[1]) * UNITS[match[2]]


class Command(migrate.Command):
    help = "Bring the database's schema up to date while the gateway goes on using it."
    autodetector = Autodetector  # tells, at the end, of changes that have no migration yet

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout",
            type=seconds,
            default=os.environ.get("MIGRATE_LOCK_TIMEOUT", "100ms"),
            help="How long a statement waits for a lock, holding up whoever comes behind (default: 100ms).",
        )
        parser.add_argument(
            "--patience",
            type=seconds,
            default=os.environ.get("MIGRATE_PATIENCE", "10min"),
            help="How long a migration tries to get its locks, and another migrate is waited for (default: 10min).",
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        use_direct_connection(options["database"])
        try:
            with interruption.interruptible():
                return super().execute(*args, **options)
        except KeyboardInterrupt as error:
            raise failures.Interrupted(error) from error
        except (OperationalError, NotSupportedError) as error:
            raise failures.DatabaseUnusable(error, connections[options["database"]]) from error
        except InconsistentMigrationHistory as error:
            raise CommandError(
                f"{error} Somebody changed django_migrations by hand, or merged migrations in another order. Nothing "
                f"was changed. See what is there (manage.py overview), and put the record right."
            ) from error

    def handle(self, *args: Any, **options: Any) -> None:
        self.report = Report(cast(TextIO, self.stdout._out), verbosity=options["verbosity"])
        connection = connections[options["database"]]
        if not (options["plan"] or options["check_unapplied"]):  # they write nothing
            refuse_what_cannot_be_migrated(connection)
        if options["plan"] or options["check_unapplied"] or options["fake"] or options["prune"]:
            super().handle(*args, **options)
            return
        patience = Patience(lock_seconds=options["lock_timeout"], seconds=options["patience"])
        with (
            locks.long_life(connection),
            turns.one_at_a_time(connection, patience_seconds=patience.seconds, report=self.report),
            Observer(connection, self.report) as observer,
            locks.short_waits(connection, patience.lock_seconds),
        ):
            # Django's command has no hook for its executor.
            stock = migrate.MigrationExecutor  # type: ignore[attr-defined]
            executor = functools.partial(Executor, observer=observer, patience=patience)
            migrate.MigrationExecutor = executor  # type: ignore[attr-defined]
            try:
                super().handle(*args, **options)
            finally:
                migrate.MigrationExecutor = stock  # type: ignore[attr-defined]
            self.secure(connection, observer, patience)

    def secure(self, connection: BaseDatabaseWrapper, observer: Observer, patience: Patience) -> None:
        """Shut Django's tables to the data API; the gateway's are its own matter."""
        baseline = {
            table
            for migration in migrate.MigrationExecutor(connection).loader.disk_migrations.values()  # type: ignore[attr-defined]
            for operation in migration.operations
            if isinstance(operation, AdoptBaseline)
            for table in operation.tables
        }
        for table in row_level_security.open_tables(connection, except_tables=baseline):
            persist(
                functools.partial(row_level_security.enable, connection, table),
                connection=connection,
                observer=observer,
                patience=patience,
                wanted=[Lock(table, ACCESS_EXCLUSIVE)],
                what=f"Row level security on {table}",
                kept="All migrations are applied.",
            )
            if self.verbosity >= 2:
                self.report.line(f"  Enabled row level security on {table}.")

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:  # noqa: FBT001, FBT002
        """Write a line at the beginning and the end of every migration."""
        words = {"apply": ("Applying", "Applied"), "unapply": ("Reversing", "Reversed")}
        act, _, moment = action.partition("_")
        if fake or act not in words:
            super().migration_progress_callback(action, migration, fake)
        elif moment == "start":
            self.migration_began = time.monotonic()
            self.report.line(f"  {words[act][0]} {migration}")
        else:
            took = duration(time.monotonic() - self.migration_began)
            self.report.line(f"  {words[act][1]} {migration} in {took}")


def use_direct_connection(alias: str) -> None:
    """Have migrations reach the server itself where the application goes through a pooler; not so a test database."""
    direct = settings.DIRECT_DATABASE
    connection = connections[alias]
    is_ours = alias == DEFAULT_DB_ALIAS and connection.settings_dict["NAME"] == settings.DATABASE_NAME
    if direct and is_ours and not direct.items() <= connection.settings_dict.items():
        connection.close()
        connection.settings_dict.update(direct)


def refuse_what_cannot_be_migrated(connection: BaseDatabaseWrapper) -> None:
    """Refuse a pooler that shares sessions out, and a server that takes no writes, before anything is done."""
    connection.ensure_connection()
    connection.check_database_version_supported()  # Django asks once in a process's life
    with connection.cursor() as cursor:
        variable = "DIRECT_URL" if os.environ.get("DIRECT_URL") else "DATABASE_URL"
        with connection.wrap_database_errors:
            pooler.refuse_transaction_pooler(
                connection.connection, connection.get_connection_params(), variable=variable
            )
        cursor.execute(
            "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean"
        )
        in_recovery, read_only = cursor.fetchone()
        if in_recovery or read_only:
            raise failures.TakesNoWrites(replica=in_recovery)
