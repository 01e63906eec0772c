"""Foreign keys as separate constraints, with actions that the database itself carries out."""

from enum import StrEnum
from typing import Any

from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import DEFAULT_DB_ALIAS, models


class Action(StrEnum):
    """What the database does to a row when its parent is deleted or gets another id."""

    NO_ACTION = "NO ACTION"
    RESTRICT = "RESTRICT"
    CASCADE = "CASCADE"
    SET_NULL = "SET NULL"


class ForeignKeyConstraint(models.BaseConstraint):
    """A foreign key with its own name and actions, for a ForeignKey field that has none in the database.

    The field needs `on_delete=DO_NOTHING, db_constraint=False, db_index=False`. Then Django does not create its own
    key (deferrable, without actions, and recreated by the next AlterField), and does not cascade in Python.
    """

    sql_constraint = (
        "CONSTRAINT %(name)s FOREIGN KEY (%(column)s) "
        "REFERENCES %(to_table)s (%(to_column)s) ON DELETE %(on_delete)s ON UPDATE %(on_update)s"
    )
    sql_create = f"ALTER TABLE %(table)s ADD {sql_constraint}"
    sql_delete = "ALTER TABLE %(table)s DROP CONSTRAINT IF EXISTS %(name)s"

    def __init__(self, *, name: str, field: str, on_delete: str, on_update: str, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.field = field
        self.on_delete = Action(on_delete)
        self.on_update = Action(on_update)

    def constraint_sql(self, model: Any, schema_editor: Any) -> str:
        return self.sql_constraint % self._parts(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any, *, not_valid: bool = False) -> str:
        return self.sql_create % self._parts(model, schema_editor) + (" NOT VALID" if not_valid else "")

    def remove_sql(self, model: Any, schema_editor: Any) -> str:
        return self.sql_delete % self._parts(model, schema_editor)

    def _parts(self, model: Any, schema_editor: Any) -> dict[str, str]:
        quote = schema_editor.quote_name
        field = model._meta.get_field(self.field)
        return {
            "table": quote(model._meta.db_table),
            "name": quote(self.name),
            "column": quote(field.column),
            "to_table": quote(field.remote_field.model._meta.db_table),
            "to_column": quote(field.target_field.column),
            "on_delete": self.on_delete.value,
            "on_update": self.on_update.value,
        }

    def validate(
        self,
        model: type[models.Model],
        instance: models.Model,
        exclude: Any = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """Do nothing: ForeignKey.validate already checks that the parent exists."""

    def _check(self, model: type[models.Model], connection: Any) -> list[checks.CheckMessage]:
        """Report field options that would make Django add its own foreign key or cascade in Python."""
        try:
            field = model._meta.get_field(self.field)
        except FieldDoesNotExist:
            return [
                checks.Error(f"{self.name} is on {self.field!r}, not a field of {model.__name__}.", obj=model)
            ]
        if not isinstance(field, models.ForeignKey):
            return [checks.Error(f"{self.name} is on {self.field!r}, which is not a ForeignKey.", obj=model)]
        remote = field.remote_field
        if getattr(field, "db_constraint", False) or remote.on_delete is not models.DO_NOTHING:
            return [
                checks.Error(
                    f"{field} would get a second foreign key from Django, in addition to {self.name}.",
                    hint="Set on_delete=DO_NOTHING, db_constraint=False and db_index=False on the field.",
                    obj=model,
                    id="council.E001",
                )
            ]
        return []

    def deconstruct(self) -> tuple[str, Any, dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        return (
            path,
            args,
            {
                **kwargs,
                "field": self.field,
                "on_delete": self.on_delete.value,
                "on_update": self.on_update.value,
            },
        )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ForeignKeyConstraint):
            return self.deconstruct() == other.deconstruct()
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: name={self.name!r} field={self.field!r}>"
