"""System checks that compare the code with the database."""

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core import checks
from django.db import connections, router
from django.db.utils import OperationalError

from council.postgres import catalog
from council.postgres.fields import EnumField


@checks.register(checks.Tags.database)
def enum_labels_agree(
    app_configs: Any, databases: Sequence[str] | None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Compare the choices of each EnumField with the labels of its type in the database.

    Runs with `check --database default` and before `migrate`. A missing type is ignored, and a difference is only a
    warning, because the migration that is about to run may fix it.
    """
    messages: list[checks.CheckMessage] = []
    for alias in databases or ():
        connection = connections[alias]
        try:
            connection.ensure_connection()
        except OperationalError:
            continue  # the command itself reports a missing database better
        for model in apps.get_models():
            if router.allow_migrate_model(alias, model):
                messages += [
                    message
                    for field in model._meta.local_fields
                    if isinstance(field, EnumField) and field.choices
                    for message in _compare(field, catalog.enum_labels(connection, field.enum))
                ]
    return messages


@checks.register(checks.Tags.database, deploy=True)
def migrations_are_safe(
    app_configs: Any, databases: Sequence[str] | None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Search our own migrations for operations that are dangerous on a database in use.

    Runs with `check --deploy --database default`, and takes about a second.
    """
    from council.zero_downtime.planning import lint  # noqa: PLC0415  # it is large, and no other check needs it

    return [
        checks.Warning(
            f"{found.operation}: {found.risk.fault}",
            hint=found.risk.cure,
            obj=found.migration,
            id="council.W002",
        )
        for alias in databases or ()
        for found in lint.findings(connections[alias], lint.own_apps())
    ]


def _compare(field: EnumField, found: list[str | None] | None) -> list[checks.CheckMessage]:
    expected = [label for label, _ in field.flatchoices]
    if found is None or found == expected:
        return []
    return [
        checks.Warning(
            f'The labels of type "{field.enum}" are {", ".join(map(str, found))} in the database, '
            f"and {', '.join(expected)} in the model.",
            hint="Change the model's choices to match, or add the label in its own migration.",
            obj=field,
            id="council.W001",
        )
    ]
