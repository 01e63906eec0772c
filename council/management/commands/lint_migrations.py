"""`manage.py lint_migrations`: find risky operations in the project's migrations before they are deployed."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, NotSupportedError, connection

from council.postgres import units
from council.zero_downtime import failures
from council.zero_downtime.planning import lint


class Command(BaseCommand):
    help = (
        "Find operations that are risky for a database in use, in the migrations of the project's own apps or of the "
        "named apps. Reads no table. The exit status is 1 if it finds something."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "app_labels",
            nargs="*",
            metavar="app_label",
            help="Check only these apps, which may also be installed packages.",
        )
        parser.add_argument("--format", choices=["text", "json"], default="text", help="The output format.")

    def handle(self, *args: Any, app_labels: list[str], format: str, **options: Any) -> None:  # noqa: A002
        installed = {config.label for config in apps.get_app_configs()}
        if unknown := set(app_labels) - installed:
            raise CommandError(
                f"No installed app has the label {', '.join(sorted(unknown))}. "
                f"The labels are {', '.join(sorted(installed))}."
            )
        try:
            found = lint.findings(connection, set(app_labels) or lint.own_apps())
        except (DatabaseError, NotSupportedError) as error:
            raise failures.DatabaseUnusable(error, connection, command="lint_migrations") from error
        if format == "json":
            listed = [
                {"migration": one.migration, "operation": one.operation, **one.risk._asdict()}
                for one in found
            ]
            self.stdout.write(json.dumps(listed, indent=2, ensure_ascii=False))
        else:
            for one in found:
                self.stdout.write(self.style.MIGRATE_LABEL(f"{one.migration}  {one.operation}"))
                self.stdout.write(
                    f"  {self.style.WARNING(one.risk.rule)}: {one.risk.fault}\n  {one.risk.cure}"
                )
            self.stdout.write(
                f"{units.count(len(found), 'finding')}." if found else self.style.SUCCESS("Nothing found.")
            )
        if found:
            sys.exit(1)
