"""Functions name types with their schema, because a session's temporary types come before those of PostgreSQL."""

import re

import pytest
from django.db import connection

pytestmark = [pytest.mark.django_db, pytest.mark.any_server]

# Words of SQL's grammar, which always mean PostgreSQL's own types.
WORDS = {"bigint", "boolean", "int", "integer", "interval", "numeric", "smallint", "timestamp"}
CAST = re.compile(r"::\s*(\w+)")
DECLARATIONS = re.compile(r"^\s*DECLARE\b(.*?)^\s*BEGIN\b", re.DOTALL | re.MULTILINE)
DECLARATION = re.compile(r"^\s*\w+\s+(\"?\w+)", re.MULTILINE)


def types(body: str) -> set[str]:
    """Return the first word of each type in a function's casts and declarations. It is the schema, if there is one."""
    declarations = "".join(DECLARATIONS.findall(body))
    return {*CAST.findall(body), *DECLARATION.findall(re.sub(r":=.*?;", ";", declarations, flags=re.DOTALL))}


def test_every_type_has_a_schema_or_is_a_word_of_sql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        found = {name: types(body) - WORDS - {"pg_catalog", '"public'} for name, body in cursor.fetchall()}
    assert len(found) > 30
    assert {name: left for name, left in found.items() if left} == {}


def test_types_are_found_in_casts_and_declarations() -> None:
    body = """
        DECLARE
          one record;
          two pg_catalog.text[] := '{}'::jsonb;
        BEGIN
          three = 4 ::date;
        END"""
    assert types(body) == {"record", "pg_catalog", "jsonb", "date"}
