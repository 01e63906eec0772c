"""Triggers that are replaced and never dropped on installation, and that do not depend on the search_path."""

import hashlib
import textwrap
from typing import Any, ClassVar

import pgtrigger
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from pgtrigger import compiler, utils

from council.postgres import catalog

# A placeholder for the current schema, filled in before SQL runs; PostgreSQL's extension scripts use it too.
SCHEMA = "@extschema@"


def in_schema(connection: BaseDatabaseWrapper, sql: str) -> str:
    """Replace @extschema@ in SQL by the current schema."""
    if SCHEMA not in sql:
        return sql
    return sql.replace(SCHEMA, connection.ops.quote_name(catalog.current_schema(connection)))


class TriggerSqlV1(compiler.UpsertTriggerSql):
    """Version 1 of the SQL that installs a trigger.

    Migrations use this class: never edit its template; add another class. CREATE OR REPLACE changes an existing
    trigger of the same name in place, and locks the table in SHARE ROW EXCLUSIVE mode. The DROP TRIGGER of
    pgtrigger's own SQL needs ACCESS EXCLUSIVE.
    """

    template: ClassVar[str] = """
CREATE OR REPLACE FUNCTION @extschema@.{function}()
RETURNS trigger LANGUAGE plpgsql {settings} AS $trigger$
{body}
$trigger$;
CREATE OR REPLACE TRIGGER {name}
{when} {operation} ON @extschema@.{table}{referencing}
FOR EACH {level}
EXECUTE FUNCTION @extschema@.{function}();
COMMENT ON TRIGGER {name} ON @extschema@.{table} IS '{hash}';
"""

    def __init__(
        self,
        *,
        name: str,
        function: str,
        table: str,
        when: str,
        operation: str,
        level: str,
        body: str,
        referencing: str = "",
        condition: str = "",
        settings: dict[str, str],
        hash: str | None = None,  # noqa: A002  # pgtrigger's name; unused: the hash is made from the SQL
    ) -> None:
        self.kwargs: dict[str, Any] = {
            "name": name,
            "function": function,
            "table": table,
            "when": when,
            "operation": operation,
            "level": level,
            "body": body,
            "referencing": referencing,
            "condition": condition,
            "settings": settings,
        }
        self.defaults = {"referencing": "", "condition": ""}
        parts = {
            **self.kwargs,
            "table": utils.quote(table),
            "referencing": f"\n{referencing}" if referencing else "",
            "condition": f"\n{condition}" if condition else "",
            "settings": " ".join(
                f"SET {setting} TO '{value}'" for setting, value in sorted(settings.items())
            ),
        }
        self.hash = hashlib.sha1(self.template.format(**parts, hash="").encode()).hexdigest()  # noqa: S324
        self.data = self.template.format(**parts, hash=self.hash).strip()
        self.pgid = name
        self.table = table
        self.function = function
        self.body = body
        self.settings = settings
        self.event = f"{when} {operation}"
        self.level = level


class TriggerSqlV2(TriggerSqlV1):
    """Version 2: adds a WHEN condition, so that the function is called only for rows that matter to it."""

    template: ClassVar[str] = TriggerSqlV1.template.replace("{level}\n", "{level}{condition}\n")


class CompiledTrigger(compiler.Trigger):
    """A trigger as migrations contain it. Uninstalling it also drops its function."""

    sql: TriggerSqlV1

    @property
    def uninstall_sql(self) -> str:
        table = f"{SCHEMA}.{utils.quote(self.sql.table)}"
        return (
            f"DROP TRIGGER IF EXISTS {self.sql.pgid} ON {table};\n"
            f"DROP FUNCTION IF EXISTS {SCHEMA}.{self.sql.function}();"
        )


# The order in which pg_get_triggerdef prints the events of a trigger.
EVENTS = ("INSERT", "DELETE", "UPDATE", "TRUNCATE")


class Trigger(pgtrigger.Trigger):
    """A trigger for `Meta.triggers`, with exactly the given names for itself and its function.

    `func` is the function's whole body, from DECLARE or BEGIN to END, with tables written as
    `@extschema@."Member"`, and types as `pg_catalog.text`: even with an empty search_path, PostgreSQL looks for a type
    among the session's temporary ones first. Only types that are SQL keywords, such as `bigint`, need no schema.
    `settings` are set on the function, in addition to an empty search_path.
    django-pgtrigger's `ignore` has no effect: these triggers must never be skipped.
    """

    def __init__(self, *, function: str, settings: dict[str, str] | None = None, **kwargs: Any) -> None:
        self.function = function
        self.settings = {"search_path": "", **(settings or {})}
        super().__init__(**kwargs)
        if self.timing or self.declare:
            raise ValueError(f"Trigger {self.name}: write timing and declarations into func's SQL.")

    def get_pgid(self, model: Any) -> str:
        return str(self.name)

    def compile(self, model: Any) -> CompiledTrigger:
        events = str(self.operation).split(" OR ")
        template = TriggerSqlV2 if self.condition else TriggerSqlV1
        return CompiledTrigger(
            name=self.name,
            sql=template(
                name=self.get_pgid(model),
                function=self.function,
                table=model._meta.db_table,
                when=str(self.when),
                operation=" OR ".join(sorted(events, key=lambda event: EVENTS.index(event.split()[0]))),
                level=str(self.level),
                body=textwrap.dedent(str(self.render_func(model))).strip(),
                referencing=str(self.referencing or "").strip(),
                condition=self.render_condition(model),
                settings=self.settings,
            ),
        )

    def exec_sql(self, sql: Any, model: Any, database: str | None = None, fetchall: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Run a trigger's SQL for `manage.py pgtrigger`, outside of migrations."""
        connection = connections[database or DEFAULT_DB_ALIAS]
        return super().exec_sql(in_schema(connection, str(sql)), model, database, fetchall)
