"""Migrate a group of apps with Django's command or with ours, or only plan it, in a separate process.

`command.py stock [PERCENT] | to APP MIGRATION | ours [--accept-risks] | plan`: `stock` is Django's command, for a part
of the migrations; `to` goes to the migration whose name begins with MIGRATION. Prints the time as JSON.
"""

import json
import sys
import time
from typing import Any

import django
from django.core.management import call_command
from django.core.management.commands import migrate as stock
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


def main(how: str, *arguments: str) -> None:
    django.setup()
    executor = MigrationExecutor(connection)
    whole = executor.migration_plan(executor.loader.graph.leaf_nodes())
    operations = sum(len(migration.operations) for migration, _ in whole)
    told: dict[str, Any] = {"migrations": len(whole), "operations": operations}
    began, cpu_began = time.perf_counter(), time.process_time()
    if how == "plan":
        from council.zero_downtime.planning import plan  # noqa: PLC0415  # not where Django's own runs

        steps = plan.of(executor, whole)
        told["unplanned"] = [
            f"{step.migration}: {step.operation}: {risk.fault}"
            for step in steps
            for risk in step.risks
            if "could not be" in risk.fault
        ]
        told["risks"] = sorted({risk.rule for step in steps for risk in step.warnings})
    elif how == "stock" and arguments:
        executor.migrate(None, whole[: len(whole) * int(arguments[0]) // 100])
    elif how == "to":
        migration = executor.loader.get_migration_by_prefix(*arguments)
        executor.migrate([(migration.app_label, migration.name)])
    elif how == "stock":
        call_command(stock.Command(), verbosity=0, interactive=False, skip_checks=True)
    else:
        from council.management.commands import migrate  # noqa: PLC0415

        options = {"accept_risks": "--accept-risks" in arguments}
        call_command(migrate.Command(), verbosity=0, interactive=False, skip_checks=True, **options)
    told["seconds"], told["cpu_seconds"] = time.perf_counter() - began, time.process_time() - cpu_began
    print(json.dumps(told))


main(*sys.argv[1:])
