"""Imports everything that a command needs, once for the fork server of `tests.forked`, without a database."""

import io
import os

import django
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader

os.environ |= {"DATABASE_URL": "postgresql:///none", "SECRET_KEY": "for tests only"}
django.setup()
call_command("check", stdout=io.StringIO(), stderr=io.StringIO())
MigrationLoader(None)
