"""`manage.py write_manifest`: write the manifest of the migrated schema. Run it after adding a migration."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from council.verification import manifest
from council.zero_downtime import row_level_security


class Command(BaseCommand):
    help = "Create a temporary database, run all migrations in it, and write its schema to council/schema.catalog."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--file", type=Path, default=manifest.FILE, help="the file to write (council/schema.catalog)"
        )

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        """Use Django's functions for test databases, which run the migrations as `migrate` does."""
        if roles := row_level_security.data_api_roles(connection):
            raise CommandError(
                f"This server has data API roles ({', '.join(roles)}), so migrate closes the tables of other apps. "
                f"Use a server without these roles, such as the embedded one."
            )
        name = connection.settings_dict["NAME"]
        connection.settings_dict["TEST"]["NAME"] = f"{name}_manifest"
        made = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        assert connection.settings_dict["NAME"] == made  # destroy_test_db drops this one
        try:
            described = manifest.describe(connection)
        finally:
            connection.creation.destroy_test_db(name, verbosity=0)
        manifest.write(described, file=file)
        self.stdout.write(f"Wrote {len(described)} facts to {file}.")
