"""Writing migration files. tests/council/test_makemigrations.py runs them."""

from typing import Any

import pytest
from django.db.migrations.migration import Migration
from django.db.migrations.operations.base import Operation

from council import zero_downtime
from council.zero_downtime.derivation.writer import Writer

pytestmark = pytest.mark.any_server


def written(*operations: Operation, **attributes: Any) -> tuple[str, Any]:
    """Write a migration. Returns its text and its class."""
    given = {
        "operations": list(operations),
        "dependencies": [("council", "0010_sign_in_failures")],
        **attributes,
    }
    text = Writer(type("Migration", (Migration,), given)("0011_more", "council")).as_string()
    namespace: dict[str, Any] = {}
    exec(text, namespace)
    return text, namespace["Migration"]


def function(definition: str, name: str = "f") -> zero_downtime.CreateFunction:
    return zero_downtime.CreateFunction(name, "", definition)


@pytest.mark.parametrize(
    ("definition", "is_constant"),
    [
        ("RETURNS text LANGUAGE sql\nRETURN 'one'", True),
        ("RETURNS text LANGUAGE sql\nRETURN 'Größe …'", True),
        ("RETURNS text LANGUAGE sql RETURN 'one'", False),
        ("RETURNS text LANGUAGE sql\nRETURN E'\\\\d'", False),
        ('RETURNS text LANGUAGE sql\nRETURN """', False),
        ('RETURNS text LANGUAGE sql\nRETURN "column"', False),
        ("RETURNS text LANGUAGE sql\nRETURN '\x07'", False),
    ],
)
def test_sql_of_several_lines_becomes_a_constant_and_other_texts_do_not(
    definition: str, is_constant: bool
) -> None:
    text, migration = written(function(definition))

    assert migration.operations[0].definition == definition
    assert ('\nF = """\\\n' in text) is is_constant


def test_two_sql_texts_with_one_name_become_two_constants() -> None:
    one, other = "RETURNS text LANGUAGE sql\nRETURN 1", "RETURNS text LANGUAGE sql\nRETURN 2"

    _, migration = written(function(one), function(other))

    assert [operation.definition for operation in migration.operations] == [one, other]


def test_parts_that_django_s_template_lacks_are_written() -> None:
    text, migration = written(atomic=False, initial=True)

    assert migration.atomic is False
    assert migration.initial is True
    assert migration.dependencies == [("council", "0010_sign_in_failures")]
    assert text.startswith('"""What it does.')
