"""The schema editor: Django's own, without what would break the contract with the gateway."""

from typing import Any

from django.db import NotSupportedError
from django.db.backends.postgresql import schema
from django.db.models import Field, Model

from council.postgres import catalog, triggers


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    def _create_like_index_sql(self, model: type[Model], field: "Field[Any, Any]") -> None:
        """Leave out the `text_pattern_ops` index that Django adds beside each index on a text column."""

    def execute(self, sql: Any, params: Any = ()) -> None:
        """Run SQL, with the current schema where it says @extschema@."""
        super().execute(self.in_schema(str(sql)), params)

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
        """Alter a column, unless that silently cost its incoming foreign keys.

        Django drops the keys that point at a primary key whose type changes and makes anew only those it
        knows as its own: the gateway's, with their names and cascades, would be gone.
        Raises NotSupportedError.
        """
        if old_field.primary_key and old_type != new_type:
            keys = catalog.incoming_foreign_keys(self.connection, model._meta.db_table)
            if keys:
                raise NotSupportedError(
                    f'"{model._meta.db_table}"."{old_field.column}" cannot change from {old_type} to {new_type}: '
                    f"Django would drop the foreign keys that point at it ({', '.join(keys)}). Add a column "
                    f"beside it, copy in batches, and move the keys one by one."
                )
        super()._alter_field(  # type: ignore[misc]  # not in the stubs
            model, old_field, new_field, old_type, new_type, old_db_params, new_db_params, strict
        )
