"""Compare the predicted duration of each operation with the measured one.

    python -m tests.performance.plan_durations [--members 100000 1000000] [--ledger-rows 2] [--json FILE]

Migrates version 1 with this many members until there is a ledger, fills the ledger, then migrates the rest. Each of the
two parts is planned first. Lists operations that took, or were predicted to take, over 200 ms. Takes a minute and a
half for a million members. `COUNCIL_POSTGRES_BIN` names another PostgreSQL.
"""

import argparse
import json
import logging
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import django
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from council.rehearsal import filling
from gamification import rehearsal
from tests.performance import ledger_data
from tests.performance.measuring import Server, private_server, table

log = logging.getLogger(__name__)

LISTED_SECONDS = 0.2
FACTOR = 2.0
LEDGER = [("gamification", "0005_points_triggers"), ("council", "0006_member_points_index")]


class Figure(NamedTuple):
    members: int
    operation: str
    predicted_seconds: float
    seconds: float

    @property
    def factor(self) -> float:
        """Return by which factor the estimate was wrong, in either direction. 1 is exact."""
        high, low = max(self.predicted_seconds, self.seconds), min(self.predicted_seconds, self.seconds)
        return high / max(low, 1e-9)


def measure(server: Server, *, members: int, ledger_rows: int) -> list[Figure]:
    """Migrate a database of version 1 to the newest state, and time each operation."""
    name = f"members_{members}"
    server.create(name)
    connection.close()
    connection.settings_dict["NAME"] = name
    migrate([("council", "0001_baseline")], members=0)
    log.info("%s: filling members", name)
    with server.connect(name) as session, filling.without_indexes(session, ledger_data.TABLES):
        session.execute(
            ledger_data.MEMBERS.format(columns="", values="").encode(), {"first": 0, "last": members - 1}
        )
    ledger_data.settle(server, name)
    figures = migrate(LEDGER, members=members)
    log.info("%s: filling the ledger", name)
    with server.connect(name) as session, filling.without_indexes(session, ledger_data.TABLES):
        session.execute("SET session_replication_role = replica")
        load = ledger_data.LOAD_LEDGER.format(key_column="", key="")
        session.execute(load.encode(), {"members": members, "rows": members * ledger_rows})
        session.execute(rehearsal.TOTALS)
    ledger_data.settle(server, name)
    return figures + migrate(MigrationExecutor(connection).loader.graph.leaf_nodes(), members=members)


def migrate(targets: list[tuple[str, str]], *, members: int) -> list[Figure]:
    """Predict the migrations to some targets, then run them."""
    from council.zero_downtime.planning import plan  # noqa: PLC0415  # once Django is set up

    executor: Any = MigrationExecutor(connection)
    state = executor._create_project_state(with_applied_migrations=True)
    migrations = executor.migration_plan(targets)
    predicted = iter(plan.of(executor, migrations))
    figures = []
    for migration, _ in migrations:
        editor: Any
        with connection.schema_editor(atomic=migration.atomic) as editor:
            for operation in migration.operations:
                before, state = state, state.clone()
                operation.state_forwards(migration.app_label, state)
                began = time.perf_counter()
                operation.database_forwards(migration.app_label, editor, before, state)
                editor.flush_deferred_sql()
                took = time.perf_counter() - began
                what = f"{migration}: {operation.describe()}"
                figures.append(Figure(members, what, next(predicted).seconds, took))
            executor.recorder.record_applied(migration.app_label, migration.name)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--ledger-rows", type=int, default=2, help="Ledger rows for each member (default: 2)."
    )
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with private_server() as server:
        os.environ |= {"DATABASE_URL": server.url("postgres"), "SECRET_KEY": "for measuring only"}
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "council.settings")
        django.setup()
        figures = [
            figure
            for members in given.members
            for figure in measure(server, members=members, ledger_rows=given.ledger_rows)
            if max(figure.seconds, figure.predicted_seconds) >= LISTED_SECONDS
        ]
        connection.close()
        record = server.record()
    rows = [["members", "operation", "predicted, s", "took, s", "factor"]]
    rows += [
        [f"{members:,}", what, f"{predicted:.2f}", f"{took:.2f}", f"{figure.factor:.2f}"]
        for figure in figures
        for members, what, predicted, took in [figure]
    ]
    log.info("%s", table(rows))
    off = sum(figure.factor > FACTOR for figure in figures)
    log.info(
        "%d operations over %.1f s, %d off by more than a factor of %.0f.",
        len(figures),
        LISTED_SECONDS,
        off,
        FACTOR,
    )
    log.info("%s", record)
    if given.json:
        listed = [{**figure._asdict(), "factor": round(figure.factor, 2)} for figure in figures]
        given.json.write_text(json.dumps({"record": record, "figures": listed}, indent=2))


if __name__ == "__main__":
    main()
