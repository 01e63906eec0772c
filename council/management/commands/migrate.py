"""`manage.py migrate`: Django's own command, made safe for a database that another application is using."""

import functools
import itertools
import json
import operator
import os
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TextIO, cast

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError, CommandParser, no_translations
from django.core.management.commands import migrate
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.exceptions import AmbiguityError, InconsistentMigrationHistory
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState
from django.utils.module_loading import module_has_submodule

from council.postgres import units
from council.zero_downtime import (
    events,
    failures,
    interruption,
    migration_lock,
    pooler,
    row_level_security,
    safe_ways,
    session_settings,
)
from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.derivation.autodetector import Autodetector
from council.zero_downtime.event_report import Report
from council.zero_downtime.executor import Executor
from council.zero_downtime.lock_modes import ACCESS_EXCLUSIVE, Lock
from council.zero_downtime.observer import Observer
from council.zero_downtime.planning import plan, plan_report, refusal
from council.zero_downtime.planning.steps import Step
from council.zero_downtime.retries import Patience, retry

OLDEST_POSTGRESQL = 15
Targets = list[tuple[str, str | None]]


class Command(migrate.Command):
    help = "Run the migrations while the gateway keeps using the database."
    autodetector = Autodetector  # reports, at the end, model changes that have no migration yet

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout",
            type=units.seconds,
            default=os.environ.get("MIGRATE_LOCK_TIMEOUT", "100ms"),
            help="How long a statement waits for a lock while others queue behind it (default: 100ms).",
        )
        parser.add_argument(
            "--patience",
            type=units.seconds,
            default=os.environ.get("MIGRATE_PATIENCE", "10min"),
            help="How long to try to get a migration's locks, and to wait for another migrate (default: 10min).",
        )
        parser.add_argument(
            "--accept-risks",
            action="store_true",
            help="Migrate even if the plan says that reads or writes will wait for longer than --lock-timeout.",
        )
        parser.add_argument(
            "--format",
            choices=["text", "json"],
            default="text",
            help="The output format of --plan, which shows what each operation locks, for how long, and its risks. The "
            "exit status is 1 if there are risks.",
        )
        parser.add_argument(
            "--events-to",
            type=events.JsonWriter,
            metavar="DESCRIPTOR",
            help="Also write each event to this open file descriptor, as one line of JSON.",
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        with directly_connected(options["database"]) as connection:
            try:
                with interruption.interruptible():
                    return super().execute(*args, **options)
            except KeyboardInterrupt as error:
                raise failures.Interrupted(error) from error
            except (OperationalError, NotSupportedError) as error:
                raise failures.DatabaseUnusable(error, connection) from error
            except InconsistentMigrationHistory as error:
                raise CommandError(
                    f"{error} Somebody changed django_migrations by hand, or merged migrations in another order. "
                    "Nothing was changed. Compare with manage.py showmigrations, and correct the table "
                    "django_migrations."
                ) from error

    @no_translations
    def handle(self, *args: Any, **options: Any) -> None:
        self.verbosity, self.interactive = options["verbosity"], options["interactive"]
        report = Report(cast(TextIO, self.stdout._out), verbosity=self.verbosity)
        self.emit = events.to_all(report, options["events_to"])
        connection = connections[options["database"]]
        if not (options["plan"] or options["check_unapplied"]):  # these change nothing
            refuse_what_cannot_be_migrated(connection)
        if options["plan"]:
            self.tell_plan(connection, options)
        elif options["check_unapplied"] or options["fake"] or options["prune"]:
            super().handle(*args, **options)
        else:
            self.run(connection, options)

    def tell_plan(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        """Write the plan. The exit status is 1 if there is a warning, or with --check if anything is pending."""
        executor = MigrationExecutor(connection)
        migrations = safe_ways.plan(executor, targets(executor.loader, connection, options))
        # Not as session settings, which a pooler would pass on to other clients.
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.execute("SET LOCAL transaction_read_only = on")
            cursor.execute(f"SET LOCAL lock_timeout = '{options['lock_timeout'] * 1000:.0f}ms'")
            steps = plan.of(executor, migrations)
            shut = row_level_security.open_tables_after(
                connection,
                [sql for step in steps for sql in step.sql],
                except_tables=baseline_tables(executor.loader),
            )
        if options["format"] == "json":
            told = {**plan_report.as_json(steps), "row_level_security": shut}
            self.stdout.write(json.dumps(told, indent=2, ensure_ascii=False))
        else:
            self.write_plan(steps, shut, verbosity=self.verbosity)
            if harms := list(refusal.harms(steps, limit_seconds=options["lock_timeout"])):
                many = units.count(len(harms), "operation")
                self.stdout.write(
                    self.style.WARNING(
                        f"Without --accept-risks, migrate refuses this plan because of {many}."
                    )
                )
        if any(step.warnings for step in steps) or (options["check_unapplied"] and steps):
            sys.exit(1)

    def run(self, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> None:
        """Migrate under the migration lock, with short lock waits, and close other apps' tables to the data API."""
        # As Django's command does: these modules connect handlers to its signals.
        for app in apps.get_app_configs():
            if module_has_submodule(app.module, "management"):
                import_module(".management", app.name)
        patience = Patience(lock_seconds=options["lock_timeout"], seconds=options["patience"])
        with (
            session_settings.without_timeouts(connection),
            migration_lock.held(connection, patience_seconds=patience.seconds, tell=self.emit),
            Observer(connection, self.emit) as observer,
            session_settings.short_lock_waits(connection, patience.lock_seconds),
        ):
            connection.prepare_database()
            executor = Executor(
                connection,
                self.migration_progress_callback,
                observer=observer,
                patience=patience,
                accepts_risks=options["accept_risks"],
            )
            self.migrate(executor, options)
            self.secure(executor)

    def migrate(self, executor: Executor, options: dict[str, Any]) -> None:
        """Run the migrations between Django's signals, and create the tables of apps that have none."""
        wanted = targets(executor.loader, executor.connection, options)
        migrations = safe_ways.plan(executor, wanted)
        without = [options["app_label"]] if options["app_label"] else sorted(executor.loader.unmigrated_apps)
        synced = without if options["run_syncdb"] and executor.loader.unmigrated_apps else []
        self.announce(wanted, synced, options)
        before = executor._create_project_state(with_applied_migrations=True)  # type: ignore[attr-defined]
        about = self.verbosity, self.interactive, executor.connection.alias
        emit_pre_migrate_signal(*about, stdout=self.stdout, apps=before.apps, plan=migrations)
        if synced:
            self.tell(self.style.MIGRATE_HEADING("Synchronizing apps without migrations:"))
            self.sync_apps(executor.connection, synced)
        self.tell(self.style.MIGRATE_HEADING("Running migrations:"))
        if not migrations:
            self.tell("  No migrations to apply.")
            self.tell_changes(executor.loader)
        after = executor.migrate(
            wanted, migrations, before.clone(), fake_initial=bool(migrations) and options["fake_initial"]
        )
        emit_post_migrate_signal(*about, stdout=self.stdout, apps=rendered(after), plan=migrations)

    def tell(self, text: str) -> None:
        if self.verbosity:
            self.stdout.write(text)

    def announce(self, wanted: Targets, synced: list[str], options: dict[str, Any]) -> None:
        """Write what Django's command writes first."""
        label = self.style.MIGRATE_LABEL
        self.tell(self.style.MIGRATE_HEADING("Operations to perform:"))
        if synced:
            what = "app: " if options["app_label"] else "apps: "
            self.tell(label(f"  Synchronize unmigrated {what}") + ", ".join(synced))
        if not options["migration_name"]:
            names = ", ".join(sorted({app for app, _ in wanted})) or "(none)"
            self.tell(label("  Apply all migrations: ") + names)
            return
        [(app, name)] = wanted
        if name is None:
            self.tell(label("  Unapply all migrations: ") + app)
        else:
            self.tell(label("  Target specific migration: ") + f"{name}, from {app}")

    def tell_changes(self, loader: MigrationLoader) -> None:
        """Name the apps whose models have changes without a migration."""
        if not self.verbosity:
            return
        found = self.autodetector(loader.project_state(), ProjectState.from_apps(apps))
        if changes := found.changes(graph=loader.graph):
            names = ", ".join(map(repr, sorted(changes)))
            self.stdout.write(
                self.style.NOTICE(
                    f"  Your models in app(s): {names} have changes that are not yet reflected in a migration, and so "
                    f"won't be applied.\n  Run 'manage.py makemigrations' to make new migrations, and then re-run "
                    f"'manage.py migrate' to apply them."
                )
            )

    def write_plan(self, steps: list[Step], shut: list[str], *, verbosity: int) -> None:
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
                f"    because the server has the roles of the data API; ROW_LEVEL_SECURITY_EXCEPT_APPS exempts apps"
            )
        is_risky = any(step.warnings for step in steps)
        self.stdout.write(
            (self.style.WARNING if is_risky else self.style.SUCCESS)(plan_report.summary(steps))
        )

    def secure(self, executor: Executor) -> None:
        """Close other apps' tables to the data API with row level security; leave the gateway's as they are."""
        connection = executor.connection
        if not row_level_security.data_api_roles(connection):
            return
        gateways = baseline_tables(executor.loader)
        for table in row_level_security.open_tables(connection, except_tables=gateways):
            retry(
                functools.partial(row_level_security.enable, connection, table),
                connection=connection,
                observer=executor.observer,
                patience=executor.patience,
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


def targets(loader: MigrationLoader, connection: BaseDatabaseWrapper, options: dict[str, Any]) -> Targets:
    """Return the migrations that the arguments name, as Django's command does. Raises CommandError."""
    loader.check_consistent_history(connection)
    if conflicts := loader.detect_conflicts():
        names = "; ".join(f"{', '.join(names)} in {app}" for app, names in conflicts.items())
        raise CommandError(
            f"Conflicting migrations detected; multiple leaf nodes in the migration graph: ({names}).\n"
            f"To fix them run 'python manage.py makemigrations --merge'"
        )
    app, name = options["app_label"], options["migration_name"]
    if not app:
        return list(loader.graph.leaf_nodes())
    try:
        apps.get_app_config(app)
    except LookupError as error:
        raise CommandError(str(error)) from error
    if options["run_syncdb"] and app in loader.migrated_apps:
        raise CommandError(f"Can't use run_syncdb with app '{app}' as it has migrations.")
    if not options["run_syncdb"] and app not in loader.migrated_apps:
        raise CommandError(f"App '{app}' does not have migrations.")
    if not name:
        return [key for key in loader.graph.leaf_nodes() if key[0] == app]
    if name == "zero":
        return [(app, None)]
    try:
        key = app, loader.get_migration_by_prefix(app, name).name
    except AmbiguityError as error:
        raise CommandError(
            f"More than one migration matches '{name}' in app '{app}'. Please be more specific."
        ) from error
    except KeyError as error:
        raise CommandError(f"Cannot find a migration matching '{name}' from app '{app}'.") from error
    if key not in loader.graph.nodes and key in loader.replacements:
        # The graph holds no squashed migration that is half applied.
        key = loader.replacements[key].replaces[-1]
    return [key]


def rendered(state: ProjectState) -> Any:
    """Return the models of a state for post_migrate, including relations to models of apps without migrations."""
    state.clear_delayed_apps_cache()
    made = state.apps
    keys = [(model.app_label, model.name_lower) for model in made.real_models]
    with made.bulk_update():
        for key in keys:
            made.unregister_model(*key)
    made.render_multiple([ModelState.from_model(apps.get_model(*key)) for key in keys])
    return made


def baseline_tables(loader: MigrationLoader) -> set[str]:
    """Return the names of the gateway's tables."""
    return {
        table
        for migration in loader.disk_migrations.values()
        for operation in migration.operations
        if isinstance(operation, AdoptBaseline)
        for table in operation.tables
    }


@contextmanager
def directly_connected(alias: str) -> Iterator[BaseDatabaseWrapper]:
    """Connect a block to the server itself if the application uses a pooler, except for a test database."""
    usual = connections[alias]
    direct = settings.DIRECT_DATABASE
    is_ours = alias == DEFAULT_DB_ALIAS and usual.settings_dict["NAME"] == settings.DATABASE_NAME
    if not direct or not is_ours or direct.items() <= usual.settings_dict.items():
        yield usual
        return
    connection = connections[alias] = type(usual)({**usual.settings_dict, **direct}, alias)
    try:
        yield connection
    finally:
        connection.close()
        connections[alias] = usual


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
