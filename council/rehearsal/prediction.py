"""Predictions about the pending migrations, made on the copy, to compare with what is observed."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from django.core.management import CommandError
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import load_backend

from council.rehearsal.database_url import DatabaseUrl
from council.zero_downtime import safe_ways
from council.zero_downtime.planning import plan
from council.zero_downtime.planning.steps import Step

ALIAS = "rehearsal"


class Predicted(NamedTuple):
    """What the plan predicts for one migration. Locks are (table, mode). None: nothing could be predicted."""

    seconds: float | None = None
    locks: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def predict(database: DatabaseUrl) -> dict[str, Predicted]:
    """Return the prediction for each pending migration by name, in the order in which they will run."""
    with _django_connection(database) as connection:
        executor = MigrationExecutor(connection)
        migrations = safe_ways.plan(executor, executor.loader.graph.leaf_nodes())
        found = {str(migration): Predicted() for migration, _ in migrations}
        # If the plan cannot be made, migrate will refuse this database and say why.
        with suppress(CommandError):
            steps = plan.of(executor, migrations)
            for migration, own in groupby(steps, key=attrgetter("migration")):
                found[migration] = _sum_up(list(own))
        return found


def _sum_up(steps: list[Step]) -> Predicted:
    return Predicted(
        seconds=sum(step.seconds for step in steps),
        locks=tuple((held.lock.table, held.lock.mode) for step in steps for held in step.locks),
        warnings=tuple(f"{risk.rule}: {risk.fault} {risk.cure}" for step in steps for risk in step.warnings),
    )


@contextmanager
def _django_connection(database: DatabaseUrl) -> Iterator[BaseDatabaseWrapper]:
    """Make a database available as a Django connection during a block."""
    defaults = {
        key: value for key, value in connections["default"].settings_dict.items() if key != "EMBEDDED_SERVER"
    }
    settings = {**defaults, **database.settings}
    connections[ALIAS] = load_backend(settings["ENGINE"]).DatabaseWrapper(settings, ALIAS)
    try:
        yield connections[ALIAS]
    finally:
        connections[ALIAS].close()
        del connections[ALIAS]
