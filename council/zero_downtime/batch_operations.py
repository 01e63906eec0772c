"""Migration operations that change the rows of a table in use."""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.core.management import CommandError
from django.db import NotSupportedError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation, OperationCategory

BATCH_ROWS = 1_000
HELD_SECONDS = 0.010  # for about this long, a batch locks its rows
FIRST_ROWS = 10
PAUSE_SECONDS = 0.5
PATIENCE_SECONDS = 600.0

NEXT_KEYS = "SELECT {key} FROM {table} WHERE {key} > %(after)s ORDER BY {key} LIMIT %(rows)s"
FIRST_KEYS = "SELECT {key} FROM {table} ORDER BY {key} LIMIT %(rows)s"
LOCK = "SELECT {key} FROM {table} WHERE {key} = ANY(%(keys)s) ORDER BY {key} FOR NO KEY UPDATE SKIP LOCKED"


class UpdateInBatches(Operation):
    """Run a statement over all rows of a table, in batches; each batch is a separate transaction.

    `sql` gets the keys of a batch as %(keys)s, after their rows are locked. Batch sizes adapt, so that each batch
    locks its rows for about 10 ms; `batch_rows` is the maximum. The statement must leave finished rows unchanged,
    since an interrupted run starts again from the first row. Rows locked by others are retried later: a batch waits
    for nobody, and others wait at most for one batch. Reversing does nothing.

    A batch's COMMIT does not wait for the disk, so that neither its rows nor other sessions' commits wait for it. The
    commit that records the migration makes all batches durable. After a crash before that, the operation runs again.
    """

    atomic = False
    category = OperationCategory.SQL
    reduces_to_sql = True
    reversible = True

    def __init__(self, model_name: str, sql: str, batch_rows: int = BATCH_ROWS) -> None:
        self.model_name = model_name
        self.sql = sql
        self.batch_rows = batch_rows

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        kwargs: dict[str, Any] = {"model_name": self.model_name, "sql": self.sql}
        if self.batch_rows != BATCH_ROWS:
            kwargs["batch_rows"] = self.batch_rows
        return type(self).__name__, [], kwargs

    def describe(self) -> str:
        return f"Update {self.model_name} in batches of {self.batch_rows:,} rows at most"

    @property
    def migration_name_fragment(self) -> str:
        return f"update_{self.model_name.lower()}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Change nothing: rows are not part of migration state."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        model = to_state.apps.get_model(*self._model(app_label))
        connection = schema_editor.connection
        if not self.allow_migrate_model(connection.alias, model):
            return
        if schema_editor.collect_sql:
            keys = {"keys": f"'{{{self.batch_rows} keys}}'"}
            lock = LOCK.format(**_names(connection, model))
            for statement in (lock, self.sql):
                schema_editor.execute(statement % keys, params=None)
            return
        if connection.in_atomic_block:
            raise NotSupportedError(
                f"{type(self).__name__} cannot run in a transaction. Set `atomic = False` on the migration: "
                f"otherwise every row stays locked until the end."
            )
        table = _Table(connection, model, self.sql, self.batch_rows)
        left = list(itertools.chain.from_iterable(table.update(keys) for keys in table.batches()))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left:
            if time.monotonic() > deadline:
                raise CommandError(
                    f'{len(left)} rows of "{model._meta.db_table}" stayed locked for {PATIENCE_SECONDS:.0f} s, '
                    f"for example {left[0]!r}. All other rows are updated. End the transactions that lock them "
                    f"(see pg_stat_activity), then run migrate again."
                )
            time.sleep(PAUSE_SECONDS)
            left = [key for some in table.batched(left) for key in table.update(some)]

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Change nothing: the rows stay as they are."""

    def _model(self, app_label: str) -> tuple[str, str]:
        """Parse a model name: `member`, or `council.member` for a model of another app."""
        given_app, _, name = self.model_name.rpartition(".")
        return given_app or app_label, name


def _names(connection: BaseDatabaseWrapper, model: Any) -> dict[str, str]:
    quote = connection.ops.quote_name
    return {"table": quote(model._meta.db_table), "key": quote(model._meta.pk.column)}


class _Table:
    def __init__(self, connection: BaseDatabaseWrapper, model: Any, sql: str, batch_rows: int) -> None:
        self.connection = connection
        self.sql = sql
        self.most_rows = batch_rows
        self.rows = min(FIRST_ROWS, batch_rows)
        self.names = _names(connection, model)
        self.seconds_without_rows = 0.0
        self.last: tuple[int, float] | None = None

    def update(self, keys: list[Any]) -> list[Any]:
        """Update a batch. Returns the keys of rows that were skipped because another session has locked them."""
        locked, seconds = self._run(keys)
        if locked:
            self._adapt(len(locked), seconds)
        done = set(locked)
        return [key for key in keys if key not in done]

    def _run(self, keys: list[Any]) -> tuple[list[Any], float]:
        """Lock the rows that are free and run the statement on them. Returns their keys, and the seconds it took."""
        with transaction.atomic(using=self.connection.alias):
            with self.connection.cursor() as cursor:
                cursor.execute("SET LOCAL synchronous_commit TO off")
            began = time.monotonic()
            locked = self._keys(LOCK, keys=keys)
            if locked:
                with self.connection.cursor() as cursor:
                    cursor.execute(self.sql, {"keys": locked})
            return locked, time.monotonic() - began

    def _adapt(self, rows: int, seconds: float) -> None:
        """Set the next batch's size by the time of the last one, at most doubling it.

        Fixed costs, such as planning, a scan or the network, are not counted, since even a single row has them. They
        are estimated from two batches of different sizes.
        """
        if self.last and self.last[0] != rows:
            a_row = max(0.0, (seconds - self.last[1]) / (rows - self.last[0]))
            self.seconds_without_rows = max(0.0, seconds - a_row * rows)
        self.last = (rows, seconds)
        work = max(seconds - self.seconds_without_rows, 1e-6)
        wanted = int(rows * HELD_SECONDS / work)
        self.rows = max(1, min(wanted, 2 * rows, self.most_rows))

    def _keys(self, query: str, **params: Any) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(query.format(**self.names), params)
            return [key for (key,) in cursor.fetchall()]

    def batches(self) -> Iterator[list[Any]]:
        """Yield batches of the keys of all rows, in order."""
        keys = self._keys(FIRST_KEYS, rows=self.rows)
        while keys:
            yield keys
            keys = self._keys(NEXT_KEYS, after=keys[-1], rows=self.rows)

    def batched(self, keys: Iterable[Any]) -> Iterator[list[Any]]:
        """Yield the given keys in batches."""
        iterator = iter(keys)
        while some := list(itertools.islice(iterator, self.rows)):
            yield some
