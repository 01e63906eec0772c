"""Migration operations for indexes of tables that are in use."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.core.management import CommandError
from django.db import IntegrityError, NotSupportedError, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import AddConstraint, AddIndex, RemoveConstraint, RemoveIndex
from django.db.migrations.operations.base import Operation, OperationCategory

from council.postgres import indexes
from council.zero_downtime import index_builds, offending_rows
from council.zero_downtime.failures import DefinitionConflict


class DuplicateKeys(CommandError):
    """A unique index cannot be built because of duplicate rows."""

    def __init__(self, connection: BaseDatabaseWrapper, model: Any, index: indexes.UniqueIndex) -> None:
        there = model._base_manager.using(connection.alias).filter(index.condition or models.Q())
        if index.nulls_distinct is not False:
            there = there.filter(**{f"{field}__isnull": False for field in index.fields})
        keys = (
            there.values(*index.fields).annotate(rows=models.Count("*")).filter(rows__gt=1).order_by("-rows")
        )
        lines = [
            f"  {key.pop('rows')} rows with {offending_rows.condition(connection, columns_of(model, key))}"
            for key in keys[: offending_rows.LISTED]
        ]
        super().__init__(
            f'Unique index "{index.name}" cannot be built: "{model._meta.db_table}" holds duplicates'
            f" (at most {offending_rows.LISTED} keys are listed).\n"
            + "\n".join(lines)
            + "\nThe unfinished index was removed. Merge or remove the duplicates, then run migrate again."
        )


def columns_of(model: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Replace the field names in a dict of values by column names."""
    return {model._meta.get_field(field).column: value for field, value in values.items()}


class ConcurrentIndexMixin:
    """The shared code for building and dropping an index without blocking writers.

    Locks: SHARE UPDATE EXCLUSIVE on the table for as long as it takes; reading and writing go on.
    """

    # squawk: ignore prefer-robust-stmts: looked up first; IF NOT EXISTS would accept an unfinished or different index
    atomic = False

    def _ensure_not_in_transaction(self, schema_editor: Any) -> None:
        if schema_editor.connection.in_atomic_block and not schema_editor.collect_sql:
            raise NotSupportedError(
                f"{type(self).__name__} cannot run in a transaction. "
                f"Set `atomic = False` on the migration, and keep other kinds of operations out of it."
            )

    def _build(self, schema_editor: Any, model: Any, index: models.Index | indexes.UniqueIndex) -> None:
        self._ensure_not_in_transaction(schema_editor)
        create_sql = str(index.create_sql(model, schema_editor, concurrently=True))
        if schema_editor.collect_sql:
            schema_editor.execute(create_sql, params=None)
            return
        connection = schema_editor.connection
        try:
            is_built = index_builds.build(
                connection,
                partial(schema_editor.execute, params=None),
                table=model._meta.db_table,
                name=index.name,
                create_sql=create_sql,
                plain_sql=str(index.create_sql(model, schema_editor)),
            )
        except IntegrityError as error:
            if isinstance(index, indexes.UniqueIndex):
                raise DuplicateKeys(connection, model, index) from error
            raise
        if not is_built:
            schema_editor.tell(f'Index "{index.name}" already exists.')

    def _drop(self, schema_editor: Any, model: Any, name: str) -> None:
        self._ensure_not_in_transaction(schema_editor)
        if not schema_editor.collect_sql:
            found = index_builds.look_up(schema_editor.connection, name)
            if found is None:
                return
            if found.table != model._meta.db_table:
                raise DefinitionConflict(
                    f'Index "{name}"',
                    found=found.definition,
                    expected=f'an index on "{model._meta.db_table}"',
                )
        schema_editor.execute(index_builds.drop_sql(schema_editor.connection, name), params=None)


class AddIndexConcurrently(ConcurrentIndexMixin, AddIndex):
    """Build an index while its table is in use."""

    def describe(self) -> str:
        return f"Build index {self.index.name} on {self.model_name} concurrently"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._build(schema_editor, model, self.index)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._drop(schema_editor, model, self.index.name)


class RemoveIndexConcurrently(ConcurrentIndexMixin, RemoveIndex):
    """Drop an index while its table is in use."""

    def describe(self) -> str:
        return f"Drop index {self.name} of {self.model_name} concurrently"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._drop(schema_editor, model, self.name)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            index = to_state.models[app_label, self.model_name_lower].get_index_by_name(self.name)
            self._build(schema_editor, model, index)


class AddLikeIndexConcurrently(ConcurrentIndexMixin, Operation):
    """Build the index for LIKE that Django adds to a text column, if the table was created without it.

    The model is named with its app, as it may belong to another app. Reversing does nothing: in a new database, the
    migration that creates the table also creates this index.
    """

    category = OperationCategory.ADDITION
    reduces_to_sql = True
    reversible = True

    def __init__(self, model: str, field: str) -> None:
        self.model = model
        self.field = field

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        return type(self).__name__, [], {"model": self.model, "field": self.field}

    def describe(self) -> str:
        return f"Build the index for LIKE on {self.field} of {self.model} concurrently"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model.replace('.', '_')}_{self.field}_like".lower()

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: migration state does not include these indexes."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(self.model)
        if not self.allow_migrate_model(schema_editor.connection.alias, model):
            return
        parts = schema_editor._create_like_index_sql(model, model._meta.get_field(self.field)).parts
        index = models.Index(fields=[self.field], name="like", opclasses=parts["columns"].opclasses)
        index.name = str(parts["name"]).strip('"')  # longer than Django allows an Index's name to be
        self._build(schema_editor, model, index)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Change nothing: the index stays."""


class AddUniqueIndexConcurrently(ConcurrentIndexMixin, AddConstraint):
    """Build a unique index while its table is in use. If there are duplicates, it fails and leaves no index."""

    model_name: str
    constraint: indexes.UniqueIndex

    def __init__(self, model_name: str, constraint: indexes.UniqueIndex) -> None:
        if not isinstance(constraint, indexes.UniqueIndex):
            raise TypeError(f"AddUniqueIndexConcurrently takes a UniqueIndex, not {constraint!r}.")
        super().__init__(model_name, constraint)

    def describe(self) -> str:
        return f"Build unique index {self.constraint.name} on {self.model_name} concurrently"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._build(schema_editor, model, self.constraint)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._drop(schema_editor, model, self.constraint.name)


class RemoveUniqueIndexConcurrently(ConcurrentIndexMixin, RemoveConstraint):
    """Drop a unique index while its table is in use."""

    model_name: str
    name: str

    def describe(self) -> str:
        return f"Drop unique index {self.name} of {self.model_name} concurrently"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = from_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            self._drop(schema_editor, model, self.name)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            index = to_state.models[app_label, self.model_name_lower].get_constraint_by_name(self.name)
            self._build(schema_editor, model, index)
