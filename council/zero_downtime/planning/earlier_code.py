"""Earlier code: what code that was deployed before a change knows about the database, according to its models."""

from functools import cached_property
from typing import Any

from django.db.backends.utils import strip_quotes, truncate_name
from django.db.migrations.state import ProjectState

from council.postgres.indexes import MAX_NAME_LENGTH


class EarlierCode:
    """The tables and columns of the models in a state. Its statements name all columns of a table.

    It does not know what is in no model, such as a column that an earlier release removed from the models.
    """

    def __init__(self, state: ProjectState) -> None:
        self.state = state

    def knows(self, table: str, column: str = "") -> bool:
        """Return whether a model has the table and, if one is given, the column."""
        columns = self.tables.get(table)
        return columns is not None and (not column or column in columns or table in self.of_two_models)

    @cached_property
    def tables(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for (app_label, name), model in self.state.models.items():
            if model.options.get("proxy"):
                continue
            table = strip_quotes(model.options.get("db_table") or f"{app_label}_{name}")
            columns = found.setdefault(table, set())
            for field_name, field in model.fields.items():
                if not field.many_to_many and (column := column_of(field, field_name)):
                    columns.add(column)
        return found | {table: set() for table in self.of_two_models}

    @cached_property
    def of_two_models(self) -> set[str]:
        """The tables that Django makes for many-to-many fields."""
        return {
            field.db_table
            or truncate_name(
                f"{strip_quotes(model.options.get('db_table') or f'{app_label}_{name}')}_{field_name}",
                MAX_NAME_LENGTH,
            )
            for (app_label, name), model in self.state.models.items()
            for field_name, field in model.fields.items()
            if field.many_to_many and not field.remote_field.through
        }


def column_of(field: Any, name: str) -> str | None:
    """Return the column of a field from migration state; such a field does not know its own name."""
    named = field.clone()
    named.set_attributes_from_name(name)
    column: str | None = named.column
    return column
