"""The schema editor: Django's own, without indexes that a field declines, and without losing foreign keys."""

from typing import Any

from django.db import NotSupportedError
from django.db.backends.postgresql import schema
from django.db.models import Field, ForeignKey, Model

from council.postgres import catalog, triggers


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    def _create_like_index_sql(self, model: type[Model], field: "Field[Any, Any]") -> Any:
        """Leave out the index for LIKE that Django adds to text columns, if the field has `has_like_index = False`.

        The attribute also applies to foreign keys that reference the field.
        """
        asked: Any = field.target_field if isinstance(field, ForeignKey) else field
        if not getattr(asked, "has_like_index", True):
            return None
        return super()._create_like_index_sql(model, field)  # type: ignore[misc]  # not in the stubs

    def execute(self, sql: Any, params: Any = ()) -> None:
        """Run SQL, with @extschema@ replaced by the current schema."""
        if triggers.SCHEMA in str(sql):
            sql = self.in_schema(str(sql))
        super().execute(sql, params)

    def in_schema(self, sql: str) -> str:
        return triggers.in_schema(self.connection, sql)

    def tell(self, text: str) -> None:
        """Report what was found and what is done about it. Does nothing here; subclasses write it."""

    def flush_deferred_sql(self) -> None:
        """Run the SQL that Django defers to the end, so that it is part of the last operation's transaction."""
        while self.deferred_sql:
            self.execute(self.deferred_sql.pop(0), None)

    def _alter_field(
        self,
        model: type[Model],
        old_field: "Field[Any, Any]",
        new_field: "Field[Any, Any]",
        old_type: str,
        new_type: str,
        old_db_params: dict[str, Any],
        new_db_params: dict[str, Any],
        strict: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Alter a column, unless foreign keys that reference it would be lost.

        When a column's type changes, Django drops the foreign keys that reference it, and recreates only its own.
        Others, such as the gateway's, would lose their names and cascades, or disappear.
        Raises NotSupportedError.
        """
        if old_type != new_type and (old_field.primary_key or old_field.unique):
            keys = catalog.incoming_foreign_keys(self.connection, model._meta.db_table, old_field.column)
            if others := [key.name for key in keys if not key.is_django_s]:
                raise NotSupportedError(
                    f'"{model._meta.db_table}"."{old_field.column}" cannot change from {old_type} to {new_type}: '
                    f"Django would drop the foreign keys that reference it ({', '.join(others)}). Add a new "
                    f"column, copy the values in batches, and move the foreign keys one by one."
                )
        super()._alter_field(  # type: ignore[misc]  # not in the stubs
            model, old_field, new_field, old_type, new_type, old_db_params, new_db_params, strict
        )
