"""`manage.py migrate`: Django's own, on the direct connection and with our executor."""

from typing import Any

from django.conf import settings
from django.core.management.commands import migrate
from django.db import DEFAULT_DB_ALIAS, connections

from council.zero_downtime import row_level_security
from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.executor import Executor


class Command(migrate.Command):
    help = "Bring the database's schema up to date while the gateway goes on using it."

    def handle(self, *args: Any, **options: Any) -> None:
        alias = options["database"]
        use_direct_connection(alias)
        # Django's command has no hook for its executor.
        stock_executor, migrate.MigrationExecutor = migrate.MigrationExecutor, Executor  # type: ignore[attr-defined]
        try:
            super().handle(*args, **options)
        finally:
            migrate.MigrationExecutor = stock_executor  # type: ignore[attr-defined]
        if not (options["plan"] or options["check_unapplied"] or options["fake"]):
            self.secure(alias)

    def secure(self, alias: str) -> None:
        """Shut Django's tables to the data API; name the gateway's, whose rights are its own matter."""
        connection = connections[alias]
        baseline = {
            table
            for migration in Executor(connection).loader.disk_migrations.values()
            for operation in migration.operations
            if isinstance(operation, AdoptBaseline)
            for table in operation.tables
        }
        for table in row_level_security.enable_for_installed_apps(connection, except_tables=baseline):
            if self.verbosity >= 2:
                self.stdout.write(f"  Enabled row level security on {table}.")


def use_direct_connection(alias: str) -> None:
    """Have migrations reach the server itself where the application goes through a pooler."""
    if alias == DEFAULT_DB_ALIAS and settings.DIRECT_DATABASE:
        connection = connections[alias]
        if (
            connection.settings_dict["NAME"] == settings.DATABASES[alias]["NAME"]
            and not connection.in_atomic_block
        ):
            connection.close()
            connection.settings_dict.update(settings.DIRECT_DATABASE)
