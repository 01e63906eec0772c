"""The schema editor: Django's own, which spares what a field or a foreign key of the contract asks it to spare."""

from typing import Any

from django.db import NotSupportedError
from django.db.backends.postgresql import schema
from django.db.models import Field, ForeignKey, Model

from council.postgres import catalog, triggers


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    def _create_like_index_sql(self, model: type[Model], field: "Field[Any, Any]") -> Any:
        """Leave out the index for LIKE that Django adds on text columns, where a field asks for that.

        It asks by an attribute, `has_like_index = False`, for itself and for the foreign keys that point at it.
        """
        asked: Any = field.target_field if isinstance(field, ForeignKey) else field
        if not getattr(asked, "has_like_index", True):
            return None
        return super()._create_like_index_sql(model, field)  # type: ignore[misc]  # not in the stubs

    def execute(self, sql: Any, params: Any = ()) -> None:
        """Run SQL, with the current schema where it says @extschema@."""
        if triggers.SCHEMA in str(sql):
            sql = self.in_schema(str(sql))
        super().execute(sql, params)

    def in_schema(self, sql: str) -> str:
        return triggers.in_schema(self.connection, sql)

    def tell(self, text: str) -> None:
        """Say what was found, and what is done about it, to whoever looks on: here nobody."""

    def flush_deferred_sql(self) -> None:
        """Run what Django keeps for after the last operation, so that it can share that transaction."""
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
        """Alter a column, unless that silently cost foreign keys that point at it.

        Django drops the keys that point at a column whose type changes, and makes its own anew. Others, such as
        the gateway's, would lose their names and cascades, or be gone.
        Raises NotSupportedError.
        """
        if old_type != new_type and (old_field.primary_key or old_field.unique):
            keys = catalog.incoming_foreign_keys(self.connection, model._meta.db_table, old_field.column)
            if others := [key.name for key in keys if not key.is_django_s]:
                raise NotSupportedError(
                    f'"{model._meta.db_table}"."{old_field.column}" cannot change from {old_type} to {new_type}: '
                    f"Django would drop the foreign keys that point at it ({', '.join(others)}). Add a column "
                    f"beside it, copy in batches, and move the keys one by one."
                )
        super()._alter_field(  # type: ignore[misc]  # not in the stubs
            model, old_field, new_field, old_type, new_type, old_db_params, new_db_params, strict
        )
