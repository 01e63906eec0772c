"""The manifest: the schema that all migrations together create, committed as `council/schema.catalog`.

`manage.py write_manifest` writes it again, from a new database on which it runs all migrations.
"""

from functools import cache
from pathlib import Path

from django.apps import apps
from django.contrib.postgres.fields import ArrayField
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from council.postgres import facts
from council.postgres.facts import Fact
from council.postgres.fields import EnumField
from council.zero_downtime.baseline import format_manifest, parse_manifest

FOLDER = Path(__file__).resolve().parent.parent
FILE = FOLDER / "schema.catalog"
BASELINE_FILE = FOLDER / "migrations" / "v1.catalog"
HEADER = """\
# The complete schema, one fact per line: kind|name|definition. A line that begins with a space continues the one above.
# Written by `manage.py write_manifest`, read by `manage.py verify_schema`. Do not edit it by hand.
"""


@cache
def expected() -> frozenset[Fact]:
    """Read what a database must contain when all migrations are applied."""
    return frozenset(parse_manifest(FILE.read_text()))


@cache
def baseline() -> frozenset[Fact]:
    """Read what the gateway's database contained before our first migration."""
    return frozenset(parse_manifest(BASELINE_FILE.read_text()))


def gateway_tables() -> frozenset[str]:
    return facts.names("table", baseline())


def describe(connection: BaseDatabaseWrapper) -> set[Fact]:
    """Describe a database that only the migrations have changed, using the tables and enums of all models."""
    tables = {*connection.introspection.django_table_names(), MigrationRecorder.Migration._meta.db_table}
    fields = [field for model in apps.get_models() for field in model._meta.local_fields]
    fields += [field.base_field for field in fields if isinstance(field, ArrayField)]
    enums = {field.enum for field in fields if isinstance(field, EnumField)}
    return facts.of_schema(connection, tables=tables, enums=enums)


def write(described: set[Fact], *, file: Path) -> None:
    file.write_text(HEADER + format_manifest(described))
