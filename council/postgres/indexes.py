"""Indexes with names as long as PostgreSQL allows. Django allows only 30 characters, because of Oracle."""

from typing import Any

from django.contrib.postgres import indexes
from django.db import models
from django.db.backends.ddl_references import Statement

MAX_NAME_LENGTH = 63


class Index(models.Index):
    max_name_length = MAX_NAME_LENGTH


class GinIndex(indexes.GinIndex):
    max_name_length = MAX_NAME_LENGTH


class UniqueIndex(models.UniqueConstraint):
    """A unique index that is not a constraint, which is what Prisma creates for `@unique`.

    To Django it is a UniqueConstraint, so forms and `full_clean` check it.
    """

    sql_create = (
        "CREATE UNIQUE INDEX %(concurrently)s%(name)s ON %(table)s "
        "(%(columns)s)%(include)s%(nulls_distinct)s%(condition)s"
    )

    def constraint_sql(self, model: type[models.Model], schema_editor: Any) -> None:  # type: ignore[override]
        """Create the index after CREATE TABLE, whose syntax has no place for it."""
        schema_editor.deferred_sql.append(self.create_sql(model, schema_editor))

    def create_sql(  # type: ignore[override]
        self, model: Any, schema_editor: Any, *, concurrently: bool = False
    ) -> Statement:
        parts = super().create_sql(model, schema_editor).parts  # type: ignore[attr-defined]
        return Statement(self.sql_create, **parts, concurrently="CONCURRENTLY " if concurrently else "")

    def remove_sql(  # type: ignore[override]
        self, model: Any, schema_editor: Any, *, concurrently: bool = False
    ) -> Statement:
        statement: Statement = schema_editor._delete_index_sql(model, self.name, concurrently=concurrently)
        return statement
