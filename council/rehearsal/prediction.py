"""Predictions about the pending migrations, made on the copy, to compare with what is observed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.core.management import CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from council.rehearsal.place import Place
from council.zero_downtime import safe_ways
from council.zero_downtime.planning import plan

ALIAS = "rehearsal"


@dataclass
class Predicted:
    """What the plan predicts for one migration. Locks are (table, mode)."""

    seconds: float | None = None
    locks: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def predict(place: Place) -> dict[str, Predicted]:
    """Return the prediction for each pending migration by name, in the order in which they will run."""
    with _django_connection(place) as connection:
        executor = MigrationExecutor(connection)
        migrations = safe_ways.plan(executor, executor.loader.graph.leaf_nodes())
        found = {str(migration): Predicted() for migration, _ in migrations}
        try:
            steps = plan.of(executor, migrations)
        except CommandError:  # migrate will refuse this database, and say why
            return found
        for step in steps:
            known = found[step.migration]
            known.seconds = (known.seconds or 0) + step.seconds
            known.locks += [(held.lock.table, held.lock.mode) for held in step.locks]
            known.warnings += [f"{risk.rule}: {risk.fault} {risk.cure}" for risk in step.warnings]
        return found


@contextmanager
def _django_connection(place: Place) -> Iterator[BaseDatabaseWrapper]:
    """Make a database available as a Django connection during a block."""
    defaults = {
        key: value for key, value in connections["default"].settings_dict.items() if key != "EMBEDDED_SERVER"
    }
    connections.databases[ALIAS] = {**defaults, **place.settings}
    try:
        yield connections[ALIAS]
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]
