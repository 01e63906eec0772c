"""`manage.py migrate`: Django's own command, made safe for a database that another application is using."""

import functools
import itertools
import json
import operator
import os
import re
import sys
import textwrap
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO, cast

from django.conf import settings
from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import InconsistentMigrationHistory

from council.zero_downtime import events, failures, interruption, locks, pooler, row_level_security, turns
from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.derivation.autodetector import Autodetector
from council.zero_downtime.executor import Executor
from council.zero_downtime.lock_modes import ACCESS_EXCLUSIVE, Lock
from council.zero_downtime.observer import Observer
from council.zero_downtime.patience import Patience, persist
from council.zero_downtime.planning import plan, refusal
from council.zero_downtime.planning import report as plan_report
from council.zero_downtime.report import Report

OLDEST_POSTGRESQL = 15
UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Read a duration: 100ms, 2s, 10min; a number alone is seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|min|h|)", text.strip())
    if not match:
        raise ArgumentTypeError(f"{text!r} is not a duration. Write it as 100ms, 2s or 10min.")
    return float(match[1]) * UNITS[match[2]]


class Command(migrate.Command):
    help = "Bring the database's schema up to date while the gateway goes on using it."
    autodetector = Autodetector  # reports, at the end, model changes that have no migration yet

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
        parser.add_argument(
            "--accept-risks",
            action="store_true",
            help="Go on where the plan says that reads or writes will wait for longer than --lock-timeout.",
        )
        parser.add_argument(
            "--format",
            choices=["text", "json"],
            default="text",
            help="How --plan tells what each operation locks, for how long, and what is risky about it. Exit status 1 "
            "where something is.",
        )
        parser.add_argument(
            "--events-to",
            type=events.JsonWriter,
            metavar="DESCRIPTOR",
            help="Write what happens to this open file descriptor, too: one line of JSON for each event.",
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
        report = Report(cast(TextIO, self.stdout._out), verbosity=options["verbosity"])
        self.emit = events.to_all(report, options["events_to"])
        connection = connections[options["database"]]
        if not (options["plan"] or options["check_unapplied"]):  # these change nothing
            refuse_what_cannot_be_migrated(connection)
        if options["plan"]:
            self.tell_plan(connection, *args, **options)
            return
        if options["check_unapplied"] or options["fake"] or options["prune"]:
            super().handle(*args, **options)
            return
        patience = Patience(lock_seconds=options["lock_timeout"], seconds=options["patience"])
        with (
            locks.long_life(connection),
            turns.one_at_a_time(connection, patience_seconds=patience.seconds, tell=self.emit),
            Observer(connection, self.emit) as observer,
            locks.short_waits(connection, patience.lock_seconds),
        ):
            executor = functools.partial(
                Executor, observer=observer, patience=patience, accepts_risks=options["accept_risks"]
            )
            with executed_by(executor):
                super().handle(*args, **options)
            self.secure(connection, observer, patience)

    def tell_plan(self, connection: BaseDatabaseWrapper, *args: Any, **options: Any) -> None:
        """Write the plan. The exit status is 1 if there is a warning, or with --check if anything is pending."""
        # Session settings would not do: a pooler would pass them on to other clients.
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("SET LOCAL transaction_read_only = on")
            cursor.execute(f"SET LOCAL lock_timeout = '{options['lock_timeout'] * 1000:.0f}ms'")
            steps = plan.of(connection, self.planned(*args, **options))
            shut = row_level_security.open_tables_after(
                connection,
                [sql for step in steps for sql in step.sql],
                except_tables=baseline_tables(connection),
            )
        if options["format"] == "json":
            told = {**plan_report.as_json(steps), "row_level_security": shut}
            self.stdout.write(json.dumps(told, indent=2, ensure_ascii=False))
        else:
            self.write_plan(steps, shut, verbosity=options["verbosity"])
            if harms := list(refusal.harms(steps, limit_seconds=options["lock_timeout"])):
                many = plan_report.count(len(harms), "operation")
                self.stdout.write(self.style.WARNING(f"migrate refuses {many} of it without --accept-risks."))
        if any(step.warnings for step in steps) or (options["check_unapplied"] and steps):
            sys.exit(1)

    def planned(self, *args: Any, **options: Any) -> plan.MigrationPlan:
        """Let Django's command work out which migrations it would run."""
        with executed_by(Planner):
            try:
                super().handle(*args, **{**options, "verbosity": 0})
            except Planned as planned:
                return planned.migrations
        raise AssertionError("Django's migrate made no plan.")

    def write_plan(self, steps: list[plan.Step], shut: list[str], *, verbosity: int) -> None:
        shown = steps if verbosity else []
        for migration, own in itertools.groupby(shown, key=operator.attrgetter("migration")):
            self.stdout.write(self.style.MIGRATE_HEADING(migration))
            for step in own:
                how = "" if step.is_atomic else "  (not in a transaction)"
                self.stdout.write(f"  {self.style.MIGRATE_LABEL(step.operation)}{how}")
                for line in plan_report.lines(step):
                    self.stdout.write(f"    {line}")
                for risk in step.risks:
                    accepted = step.accepted.get(risk.rule)
                    word = f"accepted {risk.rule}" if accepted else risk.rule
                    style = self.style.NOTICE if accepted else self.style.WARNING
                    self.stdout.write(f"    {style(word)}: {risk.fault} {accepted or risk.cure}")
                for sql in step.sql:
                    self.stdout.write(textwrap.indent(sql, "      "))
        if shut and verbosity:
            self.stdout.write(self.style.MIGRATE_HEADING("After the migrations"))
            self.stdout.write(
                f"  Enable row level security on {', '.join(shut)}\n"
                f"    ACCESS EXCLUSIVE on each for an instant: reads, writes and DDL wait\n"
                f"    as the server has the data API's roles; ROW_LEVEL_SECURITY_EXCEPT_APPS leaves apps open"
            )
        is_risky = any(step.warnings for step in steps)
        self.stdout.write(
            (self.style.WARNING if is_risky else self.style.SUCCESS)(plan_report.summary(steps))
        )

    def secure(self, connection: BaseDatabaseWrapper, observer: Observer, patience: Patience) -> None:
        """Close other apps' tables to the data API with row level security; leave the gateway's as they are."""
        if not row_level_security.data_api_roles(connection):
            return
        for table in row_level_security.open_tables(connection, except_tables=baseline_tables(connection)):
            persist(
                functools.partial(row_level_security.enable, connection, table),
                connection=connection,
                observer=observer,
                patience=patience,
                wanted=[Lock(table, ACCESS_EXCLUSIVE)],
                what=f"Row level security on {table}",
                kept="All migrations are applied.",
            )
            self.emit(events.RowLevelSecurityEnabled(table))

    def migration_progress_callback(self, action: str, migration: Any = None, fake: bool = False) -> None:  # noqa: FBT001, FBT002
        """Tell when each migration begins and ends."""
        act, _, moment = action.partition("_")
        if fake or act not in {"apply", "unapply"}:
            super().migration_progress_callback(action, migration, fake)
        elif moment == "start":
            self.migration_began = time.monotonic()
            self.emit(events.MigrationBegan(str(migration), is_reversal=act == "unapply"))
        else:
            took = time.monotonic() - self.migration_began
            self.emit(events.MigrationEnded(str(migration), is_reversal=act == "unapply", seconds=took))


class Planned(Exception):
    """Raised when Django's command has made its plan, to stop it there."""

    def __init__(self, migrations: plan.MigrationPlan) -> None:
        super().__init__()
        self.migrations = migrations


class Planner(migrate.MigrationExecutor):  # type: ignore[name-defined,misc]
    """An executor that stops Django's command as soon as it knows which migrations to run."""

    def migration_plan(self, targets: Any, clean_start: bool = False) -> NoReturn:  # noqa: FBT001, FBT002
        raise Planned(super().migration_plan(targets, clean_start))


@contextmanager
def executed_by(executor: Any) -> Iterator[None]:
    """Make Django's command use another executor. It has no hook for that."""
    stock = migrate.MigrationExecutor  # type: ignore[attr-defined]
    migrate.MigrationExecutor = executor  # type: ignore[attr-defined]
    try:
        yield
    finally:
        migrate.MigrationExecutor = stock  # type: ignore[attr-defined]


def baseline_tables(connection: BaseDatabaseWrapper) -> set[str]:
    """Return the names of the gateway's tables."""
    return {
        table
        for migration in migrate.MigrationExecutor(connection).loader.disk_migrations.values()  # type: ignore[attr-defined]
        for operation in migration.operations
        if isinstance(operation, AdoptBaseline)
        for table in operation.tables
    }


def use_direct_connection(alias: str) -> None:
    """Connect to the server itself for migrations if the application uses a pooler, except for a test database."""
    direct = settings.DIRECT_DATABASE
    connection = connections[alias]
    is_ours = alias == DEFAULT_DB_ALIAS and connection.settings_dict["NAME"] == settings.DATABASE_NAME
    if direct and is_ours and not direct.items() <= connection.settings_dict.items():
        connection.close()
        connection.settings_dict.update(direct)


def refuse_what_cannot_be_migrated(connection: BaseDatabaseWrapper) -> None:
    """Refuse an old server, a transaction pooler and a read-only server before anything is done."""
    connection.ensure_connection()
    version = connection.get_database_version()
    if version[0] < OLDEST_POSTGRESQL:
        raise NotSupportedError(
            f"PostgreSQL {OLDEST_POSTGRESQL} or later is required (found {version[0]}.{version[1]})."
        )
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
