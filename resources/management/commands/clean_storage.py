"""`manage.py clean_storage`: find and remove differences between the library's storage and the database."""

import sys
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from resources import leftovers, storage


class Command(BaseCommand):
    help = (
        "List files of the library that no row refers to, such as those left by a killed process, and rows whose file "
        "is missing. The exit status is 1 if something is left to do."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--remove", action="store_true", help="Remove the files without a row.")
        parser.add_argument(
            "--hours",
            type=float,
            default=leftovers.OLD_ENOUGH / timedelta(hours=1),
            help="Ignore files that are younger than this, because their row may not be written yet (default: 24).",
        )

    def handle(self, *args: Any, remove: bool, hours: float, **options: Any) -> None:
        if not 0 <= hours <= 24 * 365:
            raise CommandError(f"--hours is {hours:g}. Give a number from 0 to {24 * 365}.")
        try:
            is_clean = self._clean(remove=remove, older_than=timedelta(hours=hours))
        except storage.Unavailable as error:
            raise CommandError(str(error)) from error
        if not is_clean:
            sys.exit(1)

    def _clean(self, *, remove: bool, older_than: timedelta) -> bool:
        unused = list(leftovers.unused(older_than=older_than))
        left = 0
        for found in unused:
            is_removed = remove and leftovers.remove(found)
            left += not is_removed
            done = "removed" if is_removed else "without a row"
            self.stdout.write(
                f"{found.path}: {done}, {found.size:,} bytes, written {found.written_at:%Y-%m-%d %H:%M} UTC"
            )
        missing = list(leftovers.missing())
        for row in missing:
            self.stdout.write(f"{row.path}: missing, {row.description}")
        if not unused and not missing:
            self.stdout.write("Every file has a row, and every row has its file.")
        if left:
            self.stdout.write(
                f"Files without a row: {left}. To remove them, run `manage.py clean_storage --remove`."
            )
        if missing:
            self.stdout.write(
                f"Rows whose file is missing: {len(missing)}. Restore the files from a backup of the storage, or "
                f"replace them in the admin."
            )
        return not left and not missing
