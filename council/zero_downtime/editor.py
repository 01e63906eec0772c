"""The schema editor that migrate uses: before it creates something, it checks whether that exists already.

Operations of Django and of other packages may find that a table, column, index or constraint exists already, from an
interrupted run or from another tool. If its definition is the same, it is left as it is; if not, an error shows both
definitions. In sqlmigrate and in tests, Django's own editor is used.
"""

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, Model

from council.postgres import catalog, definitions, facts, schema, sql_parser
from council.postgres.facts import Difference, Fact
from council.zero_downtime import index_builds
from council.zero_downtime.failures import DefinitionConflict

# Only these statements are parsed; all others run unchecked.
MAKES = re.compile(
    r"\s*(CREATE\s+TABLE|CREATE\s+(UNIQUE\s+)?INDEX|ALTER\s+TABLE\s.*\sADD\s+CONSTRAINT)\s",
    re.IGNORECASE | re.DOTALL,
)
ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
IS_THERE = {
    "table": "SELECT to_regclass(quote_ident(%s)) IS NOT NULL",
    "index": "SELECT to_regclass(quote_ident(%s)) IS NOT NULL",
    "column": "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass(quote_ident(%s)) "
    "AND attname = %s AND NOT attisdropped)",
    "constraint": "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass(quote_ident(%s)) "
    "AND conname = %s)",
}


class SchemaEditor(schema.DatabaseSchemaEditor):
    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        *,
        atomic: bool,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        super().__init__(connection, atomic=atomic)
        self._tell = tell

    def tell(self, text: str) -> None:
        self._tell(text)

    def execute(self, sql: Any, params: Any = ()) -> None:
        """Run a statement, unless what it creates exists already. Raises DefinitionConflict."""
        text = str(sql)
        if not MAKES.match(text):
            super().execute(sql, params)
            return
        if params is not None:  # as Django's editor for PostgreSQL does
            text = str(self.connection.ops.compose_sql(text, params))
        text = self.in_schema(text)
        if not self._is_made(text):
            super().execute(text, None)

    def add_field(self, model: type[Model], field: "Field[Any, Any]") -> None:
        """Add a column, unless it exists already. Its index and foreign key are checked separately."""
        table, column = model._meta.db_table, getattr(field, "column", None)
        if column is None or not self._is_there("column", table, column):
            super().add_field(model, field)
            return
        expected = self._column_as_added(model, field)
        found = _fact(facts.of_tables(self.connection, tables=[table], enums=[]), f"{table}.{column}")
        if found != expected:
            raise DefinitionConflict(f'Column "{column}" of "{table}"', found=found, expected=expected)
        self.tell(f'Column "{column}" of "{table}" already exists.')

    def _column_as_added(self, model: type[Model], field: "Field[Any, Any]") -> str:
        """Return the catalogue's definition of a column, found by adding it to an empty table."""
        stock = schema.DatabaseSchemaEditor(self.connection, collect_sql=True)
        stock.deferred_sql = []
        stock.sql_create_column_inline_fk = None  # type: ignore[assignment]  # the foreign key is a separate statement
        schema.DatabaseSchemaEditor.add_field(stock, model, field)
        self.deferred_sql.extend(stock.deferred_sql)
        table = model._meta.db_table
        create = f"CREATE TEMPORARY TABLE {self.quote_name(table)} () ON COMMIT DROP"
        return _fact(self._as_created(table, [create, *stock.collected_sql]), f"{table}.{field.column}")

    def _is_made(self, text: str) -> bool:
        """Return whether what a statement creates exists. Raises DefinitionConflict if its definition differs."""
        node = _only(text)
        relation = getattr(node, "relation", None)
        if relation is None or relation.schemaname or relation.relpersistence == "t":
            return False
        is_made = False
        match sql_parser.kind(node):
            case "CreateStmt":
                is_made = self._is_table_made(relation.relname, text)
            case "IndexStmt" if node.idxname:
                is_made = self._is_index_made(node, text)
            case "AlterTableStmt" if (
                len(node.cmds) == 1 and sql_parser.kind(node.cmds[0].def_) == "Constraint"
            ):
                is_made = self._is_constraint_made(relation.relname, node.cmds[0].def_, text)
        return is_made

    def _is_there(self, kind: str, *names: str) -> bool:
        with self.connection.cursor() as cursor:
            cursor.execute(IS_THERE[kind], names)
            return bool(cursor.fetchone()[0])

    def _is_table_made(self, table: str, create_sql: str) -> bool:
        if not self._is_there("table", table):
            return False
        temporary = re.sub(
            r"CREATE\s+TABLE", "CREATE TEMPORARY TABLE", create_sql, count=1, flags=re.IGNORECASE
        )
        expected = self._as_created(table, [temporary])
        found = facts.of_tables(self.connection, tables=[table], enums=[])
        # Later operations create indexes, foreign keys and triggers, and check them.
        wrong = [
            difference
            for difference in facts.compare(expected=expected, found=found)
            if difference.expected is not None or difference.kind == "column"
        ]
        if wrong:
            raise DefinitionConflict(
                f'Table "{table}"',
                found="; ".join(_side(difference, difference.found) for difference in wrong),
                expected="; ".join(_side(difference, difference.expected) for difference in wrong),
            )
        self.tell(f'Table "{table}" already exists.')
        return True

    def _is_index_made(self, node: Any, create_sql: str) -> bool:
        name, table = node.idxname, node.relation.relname
        plain_sql = re.sub(r"\bCONCURRENTLY\s+", "", create_sql, count=1, flags=re.IGNORECASE)
        if node.concurrent and not self.connection.in_atomic_block:
            index_builds.build(
                self.connection,
                functools.partial(super().execute, params=None),
                table=table,
                name=name,
                create_sql=create_sql,
                plain_sql=plain_sql,
            )
            return True
        if not self._is_there("index", name):
            return False
        found = index_builds.look_up(self.connection, name)
        assert found is not None
        if not found.is_valid:
            super().execute(f"DROP INDEX {self.quote_name(name)}", None)
            return False
        expected = definitions.index_as_created(self.connection, table=table, name=name, create_sql=plain_sql)
        if found.definition != expected:
            raise DefinitionConflict(f'Index "{name}"', found=found.definition, expected=expected)
        self.tell(f'Index "{name}" already exists.')
        return True

    def _is_constraint_made(self, table: str, node: Any, create_sql: str) -> bool:
        name = node.conname
        if not name or not self._is_there("constraint", table, name):
            return False
        if node.indexname:  # the constraint has taken over the index, which was compared before
            self.tell(f'Constraint "{name}" of "{table}" exists already.')
            return True
        found = definitions.constraint(self.connection, table, name)
        assert found is not None
        if node.contype.name == "CONSTR_FOREIGN":
            expected = self._key(node)
        else:
            expected = definitions.constraint_as_created(
                self.connection, table=table, name=name, create_sql=create_sql
            )
        if found.definition != expected:
            raise DefinitionConflict(
                f'Constraint "{name}" of "{table}"', found=found.definition, expected=expected
            )
        if not found.is_validated and not node.skip_validation:
            super().execute(
                f"ALTER TABLE {self.quote_name(table)} VALIDATE CONSTRAINT {self.quote_name(name)}", None
            )
        self.tell(f'Constraint "{name}" of "{table}" already exists.')
        return True

    def _key(self, node: Any) -> str:
        """Write a foreign key as pg_get_constraintdef prints it."""
        columns, to_columns = (
            ", ".join(catalog.quoted(self.connection, [part.sval for part in parts or ()]))
            for parts in (node.fk_attrs, node.pk_attrs)
        )
        [to_table] = catalog.quoted(self.connection, [node.pktable.relname])
        text = f"FOREIGN KEY ({columns}) REFERENCES {to_table}({to_columns})"
        for word, action in (("UPDATE", node.fk_upd_action), ("DELETE", node.fk_del_action)):
            if ACTIONS[action] != "NO ACTION":
                text += f" ON {word} {ACTIONS[action]}"
        if node.deferrable:
            text += " DEFERRABLE" + (" INITIALLY DEFERRED" if node.initdeferred else "")
        return text

    def _as_created(self, table: str, create: Iterable[str]) -> set[Fact]:
        """Describe a table by creating a temporary one with its name, which is rolled back."""
        current = ".".join([*catalog.quoted(self.connection, [catalog.current_schema(self.connection)]), ""])
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            for sql in create:
                cursor.execute(self.in_schema(sql))
            cursor.execute("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()")
            (own_schema,) = cursor.fetchone()
            made = facts.of_tables(self.connection, tables=[table], enums=[], schema=own_schema)
            transaction.set_rollback(True, using=self.connection.alias)
        return {
            Fact(kind, name, "table" if kind == "table" else definition.replace(current, ""))
            for kind, name, definition in made
        }


def _only(text: str) -> Any:
    """Return the parse tree of a text's only statement. None if it cannot be parsed or has several statements."""
    try:
        read = sql_parser.read(text)
    except sql_parser.Unreadable:
        return None
    return read[0].node if len(read) == 1 else None


def _fact(described: Iterable[Fact], column: str) -> str:
    [definition] = [fact.definition for fact in described if fact[:2] == ("column", column)]
    return definition


def _side(difference: Difference, definition: str | None) -> str:
    return f"{difference.kind} {difference.name} {definition or 'is missing'}"
