from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from council.gateway import prisma_schema


class Command(BaseCommand):
    help = "Write the gateway's schema.prisma for the tables that both applications use, or compare a file with it."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check",
            metavar="FILE",
            type=Path,
            help="Compare the models and enums of this schema.prisma. The exit status is 1 if they differ.",
        )

    def handle(self, *args: Any, check: Path | None, **options: Any) -> None:
        if check is None:
            self.stdout.write(prisma_schema.write(), ending="")
            return
        try:
            text = check.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(
                f"{check} cannot be read: {error}. Give the path of a schema.prisma."
            ) from error
        if faults := prisma_schema.differences(text):
            raise CommandError(
                f"{check} differs from the database's schema in {len(faults)} lines:\n  "
                + "\n  ".join(faults)
                + "\nCopy these models and enums from the output of `manage.py prisma_schema`."
            )
        self.stdout.write(f"{check} agrees with the database's schema.")
