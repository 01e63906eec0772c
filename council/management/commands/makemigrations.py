"""`manage.py makemigrations`: Django's own, without starting the embedded server to ask it for its history."""

import warnings
from typing import Any

from django.core.management.commands import makemigrations
from django.db import DEFAULT_DB_ALIAS, connections


class Command(makemigrations.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection: Any = connections[DEFAULT_DB_ALIAS]
        connection.may_start_embedded_server = False
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Got an error checking a consistent migration history")
                super().handle(*args, **options)
        finally:
            connection.may_start_embedded_server = True
