"""`manage.py write_manifest`: write down the schema that the migrations make, after a new one."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from council.verification import manifest
from council.zero_downtime import row_level_security


class Command(BaseCommand):
    help = "Migrate a throw-away database from nothing, and write its schema to council/schema.catalog."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--file", type=Path, default=manifest.FILE, help="Where to (council/schema.catalog)."
        )

    def handle(self, *args: Any, file: Path, **options: Any) -> None:
        """Use what makes Django's test databases: it migrates the new one as `migrate` would."""
        if roles := row_level_security.data_api_roles(connection):
            raise CommandError(
                f"The server has the data API's roles ({', '.join(roles)}), so that migrate shuts other apps' tables. "
                f"Use a server without them, such as the embedded one."
            )
        name = connection.settings_dict["NAME"]
        connection.settings_dict["TEST"]["NAME"] = f"{name}_manifest"
        made = connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        assert connection.settings_dict["NAME"] == made  # it is what destroy_test_db drops
        try:
            described = manifest.describe(connection)
        finally:
            connection.creation.destroy_test_db(name, verbosity=0)
        manifest.write(described, file=file)
        self.stdout.write(f"{len(described)} facts written to {file}.")
