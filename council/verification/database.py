"""The database that is verified, with the data that several checks need."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from django.db import ProgrammingError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader

from council.postgres import catalog, facts
from council.postgres.facts import Difference, Fact
from council.verification import manifest
from council.zero_downtime.baseline import AdoptBaseline

LOCK_TIMEOUT, STATEMENT_TIMEOUT = "250ms", "10s"


class Database:
    """One connection, perhaps through a pooler, and facts that are read only once.

    With `is_full`, checks that compare rows compare all of them.
    """

    def __init__(self, connection: BaseDatabaseWrapper, *, is_full: bool = False) -> None:
        self.connection = connection
        self.is_full = is_full
        self.expected = manifest.expected()

    @contextmanager
    def transaction(self, *, read_only: bool = True) -> Iterator[None]:
        """Run a block in a transaction that is rolled back, with short timeouts, by default read-only."""
        with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
            if read_only:
                cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(
                "SELECT set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true), "
                "set_config('jit', 'off', true)",  # compiling its queries would take longer than running them
                [LOCK_TIMEOUT, STATEMENT_TIMEOUT],
            )
            yield
            transaction.set_rollback(True, using=self.connection.alias)

    def rows(self, query: str, **params: Any) -> list[tuple[Any, ...]]:
        """Run a query. It may use %(schema)s and %(tables)s, the tables of the manifest."""
        with self.connection.cursor() as cursor:
            cursor.execute(query, {"schema": self.schema, "tables": self.tables, **params})
            return list(cursor.fetchall())

    def settings(self, *names: str) -> dict[str, str]:
        """Read the values with which a session of this role starts, whatever this session has set since."""
        query = "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%(names)s)"
        return dict(self.rows(query, names=list(names)))

    @cached_property
    def schema(self) -> str:
        return catalog.current_schema(self.connection)

    @cached_property
    def tables(self) -> list[str]:
        """The tables that must exist."""
        return sorted(facts.names("table", self.expected))

    @cached_property
    def found(self) -> frozenset[Fact]:
        functions = {name.partition("(")[0] for name in facts.names("function", self.expected)}
        return frozenset(
            facts.of_schema(
                self.connection,
                tables=self.tables,
                enums=facts.names("enum", self.expected),
                functions=functions,
            )
        )

    @cached_property
    def _differences(self) -> list[Difference]:
        return list(facts.compare(expected=self.expected, found=self.found))

    def differences(self, *kinds: str) -> list[Difference]:
        """List the differences from the manifest. Parts of a missing table are left out."""
        return [difference for difference in self._differences if difference.kind in kinds]

    def definitions(self, kind: str) -> dict[str, str]:
        """Return the definitions found of a kind, by name."""
        return {fact.name: fact.definition for fact in self.found if fact.kind == kind}

    @cached_property
    def migrations(self) -> MigrationLoader:
        return MigrationLoader(self.connection, ignore_no_migrations=True)

    @cached_property
    def pending_migrations(self) -> list[str]:
        applied = self.migrations.applied_migrations
        return sorted(
            f"{app}.{name}" for app, name in self.migrations.graph.nodes if (app, name) not in applied
        )

    @cached_property
    def standing(self) -> str | None:
        """Describe the state that migrate will compare with the baseline; None once the baseline is applied.

        Also None if the role may not read django_migrations: the checks report the missing rights.
        """
        try:
            applied = self.migrations.applied_migrations
        except ProgrammingError:
            return None
        for key, migration in sorted(self.migrations.disk_migrations.items()):
            for operation in migration.operations:
                if key not in applied and isinstance(operation, AdoptBaseline):
                    with self.transaction():
                        return operation.describe_database(self.connection)
        return None

    @cached_property
    def takes_writes(self) -> bool:
        query = (
            "SELECT NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::boolean"
        )
        return bool(self.rows(query)[0][0])
