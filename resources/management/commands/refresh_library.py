"""`manage.py refresh_library`: count what the orders "most downloaded" and "trending" go by."""

from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from council.zero_downtime import failures
from resources import library


class Command(BaseCommand):
    help = 'Count what "most downloaded" and "trending" in the library go by. Run it every few minutes.'

    def handle(self, *args: Any, **options: Any) -> None:
        with failures.said(connection, command="refresh_library"):
            count = library.refresh()
        self.stdout.write(f"{count} resource{'' if count == 1 else 's'} counted anew.")
