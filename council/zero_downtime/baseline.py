"""The first migration of a database that may already have tables."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management import CommandError
from django.db import NotSupportedError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState
from django.utils.deconstruct import deconstructible

from council.postgres import sql_parser, units
from council.postgres.facts import Difference, Fact
from council.zero_downtime import adoption, index_builds, session_settings
from council.zero_downtime.adoption import Adoption

SHOWN = 5  # the number of differences listed in a paragraph


class BaselineMismatch(CommandError):
    """The database is neither empty nor the one that the manifest describes."""


def parse_manifest(text: str) -> set[Fact]:
    """Parse a manifest: one fact per line, `kind|name|definition`.

    Lines that begin with # are comments. A line that begins with a space continues the definition above it.
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


def line(difference: Difference) -> str:
    """Describe a difference from what is expected in one line."""
    kind, name, want, have = difference
    if have is None:
        return f"missing    {kind} {name}: expected {want}"
    if want is None:
        return f"extra      {kind} {name}: found {have}"
    return f"different  {kind} {name}: expected {want}; found {have}"


@deconstructible(path="council.zero_downtime.RowRule")
@dataclass
class RowRule:
    """A query for rows that would make a later migration fail. It runs only if its tables exist.

    Each row that it returns is one fault; its values are put into `line`.
    """

    tables: Sequence[str]
    query: str
    line: str


class AdoptBaseline(Operation):
    """Build a schema if none of it exists, or adopt an existing schema that matches a manifest.

    `operations` build the schema and define its state. `manifest` describes what they build: the text that
    `format_manifest` returns for `facts.of_tables`. If the database holds all of it, nothing is built. The database
    may also hold any part of `towards`, a second manifest that another tool has begun to build; later operations find
    those parts. An equivalent variant of such a part is replaced in several statements, each with the usual lock
    timeouts, so the migration is not atomic. Any other difference is refused: BaselineMismatch lists all differences
    and the rows that `row_rules` find, and nothing is changed. Takes no lock on existing tables, except to replace
    something.
    """

    atomic = False
    category = OperationCategory.ADDITION
    reversible = True
    serialization_expand_args = ["operations"]

    def __init__(
        self,
        *,
        manifest: str,
        operations: Sequence[Operation],
        towards: str | None = None,
        row_rules: Sequence[RowRule] = (),
    ) -> None:
        self.manifest = manifest
        self.operations = list(operations)
        self.towards = towards
        self.row_rules = list(row_rules)
        self.expected = frozenset(parse_manifest(manifest))
        self.wanted = frozenset(parse_manifest(towards)) if towards else self.expected
        self.tables = frozenset(fact.name for fact in self.expected if fact.kind == "table")

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        kwargs: dict[str, Any] = {"manifest": self.manifest, "operations": self.operations}
        if self.towards is not None:
            kwargs["towards"] = self.towards
        if self.row_rules:
            kwargs["row_rules"] = self.row_rules
        return type(self).__name__, [], kwargs

    def describe(self) -> str:
        return f"Adopt, or build, the {len(self.tables)} tables of the baseline"

    @property
    def migration_name_fragment(self) -> str:
        return "baseline"

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        for operation in self.operations:
            operation.state_forwards(app_label, state)

    def look(self, connection: BaseDatabaseWrapper, *, with_rows: bool) -> Adoption | None:
        """Return what there is to adopt; None if there is nothing, so that everything is built.

        With `with_rows`, also look for rows that would make a later migration fail. Raises BaselineMismatch.
        """
        found = adoption.look(connection, first=self.expected, second=self.wanted, with_rows=with_rows)
        if not found.there:
            return None
        lines = [*map(line, found.differences), *found.faults]
        if with_rows and not lines:
            lines += self._broken_rules(connection, found)
        if lines:
            raise BaselineMismatch(
                f"This database does not match the baseline of these migrations: "
                f"{units.count(len(lines), 'difference')}. Nothing was changed.\n  "
                + "\n  ".join(lines)
                + "\nFind out who changed it and repair each difference (manage.py verify_schema prints the SQL); then "
                "run migrate again. Do not use --fake here."
            )
        return found

    def refuse_another_schema(self, connection: BaseDatabaseWrapper) -> None:
        """Compare the schema and check the rows, before anything is changed. Raises BaselineMismatch."""
        self.look(connection, with_rows=True)

    def describe_database(self, connection: BaseDatabaseWrapper) -> str:
        """Describe a database's state in one paragraph, and what migrate will do. Reads no rows."""
        try:
            found = self.look(connection, with_rows=False)
        except BaselineMismatch as error:
            listed = [text.strip() for text in str(error).splitlines() if text.startswith("  ")]
            more = f"; and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
            return (
                f"No migration has run here, and the database differs from the baseline or from the schema that the "
                f"migrations build: {'; '.join(listed[:SHOWN])}{more}. migrate refuses this and changes nothing."
            )
        if found is None:
            return (
                f"No migration has run here, and none of the {len(self.tables)} tables of the baseline exists: "
                f"migrate builds everything."
            )
        counts = adoption.counts(found.there, first=self.expected, second=self.wanted)
        text = f"No migration has run here. The {len(self.tables)} tables of the baseline exist and match it."
        if self.wanted == self.expected:
            return f"{text} migrate adopts them and continues from there."
        text += f" Of what the migrations add, {counts} exist"
        text += f"; not finished: {', '.join(found.unfinished)}." if found.unfinished else "."
        text += " migrate adopts what exists and creates what is missing; no row is lost."
        return " ".join([text, *(f"It replaces one object: {one}." for one in found.replacements)])

    def _broken_rules(self, connection: BaseDatabaseWrapper, found: Adoption) -> list[str]:
        tables = {fact.name for fact in found.there if fact.kind == "table"}
        lines = []
        for rule in self.row_rules:
            if tables.issuperset(rule.tables):
                with (
                    session_settings.changed(connection, statement_timeout="0"),
                    connection.cursor() as cursor,
                ):
                    cursor.execute(rule.query)
                    lines += [rule.line.format(*row) for row in cursor.fetchall()]
        return lines

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if schema_editor.collect_sql:
            self._build(app_label, schema_editor, from_state)
            return
        found = self.look(schema_editor.connection, with_rows=False)
        if found is None:
            with transaction.atomic(using=schema_editor.connection.alias):
                self._build(app_label, schema_editor, from_state)
                schema_editor.flush_deferred_sql()
            return
        for replacement in found.replacements:
            schema_editor.tell(str(replacement))
        for statement in found.statements:
            self._run(schema_editor, statement)

    def _build(self, app_label: str, schema_editor: Any, from_state: ProjectState) -> None:
        for operation in self.operations:
            to_state = from_state.clone()
            operation.state_forwards(app_label, to_state)
            operation.database_forwards(app_label, schema_editor, from_state, to_state)
            from_state = to_state

    def _run(self, schema_editor: Any, sql: str) -> None:
        connection = schema_editor.connection
        if connection.in_atomic_block and " CONCURRENTLY " in sql:
            raise NotSupportedError(
                f"{type(self).__name__} must replace something, which is not possible in a transaction. "
                f"Set `atomic = False` on the migration."
            )
        if not sql.startswith("CREATE "):
            schema_editor.execute(sql, params=None)
            return
        [statement] = sql_parser.read(sql)
        index_builds.build(
            connection,
            functools.partial(schema_editor.execute, params=None),
            table=statement.node.relation.relname,
            name=statement.node.idxname,
            create_sql=sql,
            plain_sql=sql.replace(" CONCURRENTLY ", " ", 1),
        )

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Drop the tables if all are empty; otherwise refuse.

        from_state is the state with the tables, to_state the one without.
        """
        if schema_editor.collect_sql:
            self._remove(app_label, schema_editor, to_state)
            return
        with transaction.atomic(using=schema_editor.connection.alias):
            self._refuse_if_rows(schema_editor)
            self._remove(app_label, schema_editor, to_state)

    def _remove(self, app_label: str, schema_editor: Any, to_state: ProjectState) -> None:
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
                        f'Reversing the baseline would drop "{table}", which contains rows of the gateway. To '
                        f"start again in a temporary database, drop and create that database instead."
                    )
