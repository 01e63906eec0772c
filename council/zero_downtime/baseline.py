"""The first migration of a database that is there already."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.management import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState

from council.postgres import facts
from council.postgres.facts import Fact


class BaselineMismatch(CommandError):
    """The database is neither empty nor the one that the manifest describes."""


def parse_manifest(text: str) -> set[Fact]:
    """Read a manifest: one fact a line, `kind|name|definition`.

    Lines that begin with # are comments; one that begins with a space goes on with the definition before it.
    """
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(" "):
            lines[-1] += f"\n{line[1:]}"
        elif line and not line.startswith("#"):
            lines.append(line)
    return {Fact(*line.split("|", 2)) for line in lines}


def format_manifest(described: Iterable[Fact]) -> str:
    return "".join(
        "|".join((kind, name, definition.replace("\n", "\n "))) + "\n"
        for kind, name, definition in sorted(described)
    )


def differences(*, expected: Iterable[Fact], found: Iterable[Fact]) -> list[str]:
    """Say in words, one line a thing, how what was found differs from what was expected."""
    lines = []
    for kind, name, want, have in facts.compare(expected=expected, found=found):
        if have is None:
            lines.append(f"missing    {kind} {name}: expected {want}")
        elif want is None:
            lines.append(f"extra      {kind} {name}: found {have}")
        else:
            lines.append(f"different  {kind} {name}: expected {want}; found {have}")
    return lines


class AdoptBaseline(Operation):
    """Build a schema where there is nothing of it, or take over one that equals a manifest.

    `operations` build the schema and define its state. `manifest` is the text that `format_manifest` makes of
    `facts.of_tables` for what they build. On a database that holds all of it, and equal, nothing is run; on
    anything in between BaselineMismatch lists every difference, and nothing is changed.
    Takes no lock on tables that are there.
    """

    category = OperationCategory.ADDITION
    reversible = True
    serialization_expand_args = ["operations"]

    def __init__(self, *, manifest: str, operations: Sequence[Operation]) -> None:
        self.manifest = manifest
        self.operations = list(operations)
        self.expected = parse_manifest(manifest)
        self.tables = frozenset(fact.name for fact in self.expected if fact.kind == "table")
        self.enums = frozenset(fact.name for fact in self.expected if fact.kind == "enum")

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        return type(self).__name__, [], {"manifest": self.manifest, "operations": self.operations}

    def describe(self) -> str:
        return f"Adopt, or build, the {len(self.tables)} tables of the baseline"

    @property
    def migration_name_fragment(self) -> str:
        return "baseline"

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        for operation in self.operations:
            operation.state_forwards(app_label, state)

    def is_adoption(self, connection: BaseDatabaseWrapper) -> bool:
        """Tell a database to adopt (True) from one to build (False). Raises BaselineMismatch."""
        found = facts.of_tables(connection, tables=self.tables, enums=self.enums)
        if not found:
            return False
        lines = differences(expected=self.expected, found=found)
        if not lines:
            return True
        raise BaselineMismatch(
            f"This database is not the one that these migrations begin with: {len(lines)} "
            f"difference{'s' if len(lines) > 1 else ''}. Nothing was changed.\n  "
            + "\n  ".join(lines)
            + "\nAsk who changed it, and make each line true (manage.py verify_schema writes the SQL); then run "
            "migrate again. Never use --fake here."
        )

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if not schema_editor.collect_sql and self.is_adoption(schema_editor.connection):
            return
        for operation in self.operations:
            to_state = from_state.clone()
            operation.state_forwards(app_label, to_state)
            operation.database_forwards(app_label, schema_editor, from_state, to_state)
            from_state = to_state

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Refuse where rows would be lost; drop what is empty.

        from_state is the one with the tables in it, to_state the one without.
        """
        if not schema_editor.collect_sql:
            self._refuse_if_rows(schema_editor)
        states = [to_state]
        for operation in self.operations:
            state = states[-1].clone()
            operation.state_forwards(app_label, state)
            states.append(state)
        for operation, before, after in reversed(
            list(zip(self.operations, states, states[1:], strict=False))
        ):
            operation.database_backwards(app_label, schema_editor, after, before)

    def _refuse_if_rows(self, schema_editor: Any) -> None:
        for table in sorted(self.tables):
            with schema_editor.connection.cursor() as cursor:
                cursor.execute(f"SELECT EXISTS (SELECT FROM {schema_editor.quote_name(table)})")  # noqa: S608
                if cursor.fetchone() == (True,):
                    raise CommandError(
                        f'Reversing the baseline would drop "{table}", which holds rows of the gateway. To start '
                        f"anew on a throw-away database, drop that database instead."
                    )
