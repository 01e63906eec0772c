"""`manage.py overview`: what the database contains, and what to do next."""

import os
import shlex
import sys
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.migrations.executor import MigrationExecutor

from council.postgres import catalog, units
from council.zero_downtime import failures

OUR_APPS = ("council", "accounts", "gamification", "resources", "benchmarks")

# Counting a large table takes seconds, so its size is the planner's estimate. Small tables are counted.
ESTIMATE = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = %s::regclass"
EXACT_BELOW = 100_000


class Command(BaseCommand):
    help = "Show what the database contains, and the next command to run."
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        with failures.as_command_errors(connection, command="overview"):
            self.write_overview()

    def write_overview(self) -> None:
        pending = self.pending_migrations()
        self.stdout.write(self.style.MIGRATE_HEADING(f"{self.database()}"))
        models = {label: list(apps.get_app_config(label).get_models()) for label in OUR_APPS}
        width = max(len(model._meta.db_table) for own in models.values() for model in own)
        self.stdout.write(f"  migrations: {f'{pending} to apply' if pending else 'all applied'}")
        for label, own in models.items():
            self.stdout.write(self.style.MIGRATE_LABEL(f"  {label}"))
            for model in own:
                table = model._meta.db_table
                self.stdout.write(f"    {table:<{width}}  {self.rows(table)}")
        open_tables = catalog.tables_without_row_security(connection)
        if open_tables:
            self.stdout.write(
                "  Tables without row level security, open to the data API if its roles have rights on them: "
                + ", ".join(open_tables)
            )
        self.stdout.write(self.style.MIGRATE_HEADING("Next"))
        for line in self.next_steps(pending):
            self.stdout.write(f"  {line}")

    def database(self) -> str:
        connection.ensure_connection()
        major, minor = connection.get_database_version()
        where = (
            f"embedded in {settings.EMBEDDED_SERVER.folder}"
            if settings.EMBEDDED_SERVER
            else "from DATABASE_URL"
        )
        return f"PostgreSQL {major}.{minor}, database {connection.settings_dict['NAME']}, {where}"

    def pending_migrations(self) -> int:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))

    def rows(self, table: str) -> str:
        name = connection.ops.quote_name(table)
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s)", [name])
            if cursor.fetchone() == (None,):
                return "does not exist"
            cursor.execute(ESTIMATE, [name])
            (estimate,) = cursor.fetchone()
            if estimate >= EXACT_BELOW:
                return f"about {estimate:,} rows"
            cursor.execute(f"SELECT count(*) FROM {name}")  # noqa: S608
            (count,) = cursor.fetchone()
            return units.count(count, "row")

    def next_steps(self, pending: int) -> list[str]:
        steps = []
        if pending:
            steps.append(("migrate", "bring the schema up to date"))
        else:
            if not get_user_model().objects.filter(is_staff=True).exists():
                steps.append(("createsuperuser", "create a staff account to sign in with"))
            steps.append(("runserver", "then open http://127.0.0.1:8000/ as a member, /admin/ as staff"))
        if settings.EMBEDDED_SERVER:
            steps.append(("embedded stop", "stop the embedded PostgreSQL (embedded remove: delete its data)"))
        python = shlex.quote(min(sys.executable, os.path.relpath(sys.executable), key=len))
        return [f"{python} manage.py {command:<16} {what}" for command, what in steps]
