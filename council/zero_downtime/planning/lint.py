"""Lint: applies the plan's rules to migrations before they are deployed, without looking at tables."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from django.apps import apps
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from council.zero_downtime.planning import inventory, plan, rules
from council.zero_downtime.planning.inventory import Inventory
from council.zero_downtime.planning.rules import Risk
from council.zero_downtime.planning.steps import Step


class Finding(NamedTuple):
    migration: str
    operation: str
    risk: Risk


def own_apps() -> set[str]:
    """Return the project's own apps, without those installed as packages."""
    return {
        config.label
        for config in apps.get_app_configs()
        if Path(config.path).is_relative_to(settings.BASE_DIR)
        and "site-packages" not in Path(config.path).parts
    }


def findings(connection: BaseDatabaseWrapper, app_labels: set[str]) -> list[Finding]:
    """List the risks in some apps' migrations that the migrations do not accept.

    A migration accepts a risk with `accepts = {"rule": "why"}`. Accepting a risk that does not occur is also a finding.
    The database is used only for its functions, time zone and SQL dialect; its tables are not read.
    """
    executor = MigrationExecutor(connection)
    whole = executor.migration_plan(executor.loader.graph.leaf_nodes(), clean_start=True)
    read = inventory.read(connection)
    there = Inventory(functions=read.functions, is_utc=read.is_utc)
    ours = {str(migration) for migration, _ in whole if migration.app_label in app_labels}
    steps = [
        step
        for step in plan.steps(connection, whole, state=ProjectState(), there=there, is_one_release=False)
        if step.migration in ours
    ]
    found = [Finding(step.migration, step.operation, risk) for step in steps for risk in step.warnings]
    return found + list(_stale(steps))


def _stale(steps: list[Step]) -> Iterator[Finding]:
    accepted = {(step.migration, rule) for step in steps for rule in step.accepted}
    seen = {(step.migration, risk.rule) for step in steps for risk in step.risks}
    for migration, rule in sorted(accepted - seen):
        yield Finding(migration, "accepts", rules.NOTHING_TO_ACCEPT.of(rule=rule))
