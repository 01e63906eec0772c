"""The audit log: which member of staff changed what, with the old and new values, in the transaction of the change.

The admin's pages write it automatically (model_admin.py). Wrap any other change by staff in a block:

    with audit.changes_of(Resource.objects.filter(pk__in=chosen), by=account):
        ...

The log never contains the values of secret fields. It only says that they changed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import Any

from django.db import models, transaction

from council.accounts.models import Account
from council.models import AuditLog

SECRET_FIELD = re.compile(r"password|hash|token|secret|payload|(?:^|_)key$", re.IGNORECASE)
# Fields whose names match the pattern above, but which are not secret.
NO_SECRETS = {"FeatureFlag.key", "PointTransaction.idempotency_key"}
HIDDEN = "(hidden)"

Values = Mapping[str, Any]


def values_of(row: models.Model) -> dict[str, Any]:
    """Read a row's columns and its many-to-many fields as values that JSON can hold."""
    values = {field.name: _as_json(field.value_from_object(row)) for field in row._meta.concrete_fields}
    for field in row._meta.many_to_many:
        if field.remote_field.through._meta.auto_created:  # type: ignore[union-attr]
            values[field.name] = sorted(str(each) for each in getattr(row, field.name).all())
    return values


def stored_values(row: models.Model) -> dict[str, Any] | None:
    """Lock a row until the transaction ends, and read its stored values. Returns None if it is deleted."""
    stored = row._meta.model._base_manager.select_for_update(of=("self",)).filter(pk=row.pk).first()
    return None if stored is None else values_of(stored)


def record_change(
    row: models.Model,
    *,
    before: Values | None,
    after: Values | None,
    by: Account,
    secret_fields: Iterable[str] = (),
    left_out: Iterable[str] = (),
) -> AuditLog | None:
    """Log a change as `<MODEL>_ADDED`, `_CHANGED` or `_DELETED`. If no value changed, log nothing.

    `before` is None if the row is new; `after` is None if it is deleted.
    """
    names = [*(before or after or {})]
    details = {}
    for name in names:
        old, new = (before or {}).get(name), (after or {}).get(name)
        if old == new or name in left_out:
            continue
        if is_secret(row._meta.model, name) or name in secret_fields:
            old, new = (None if each in (None, "") else HIDDEN for each in (old, new))
        details[name] = {"from": old, "to": new}
    if not details:
        return None
    verb = "ADDED" if before is None else "DELETED" if after is None else "CHANGED"
    name = row._meta.object_name or ""
    return AuditLog.objects.create(
        action=f"{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).upper()}_{verb}",
        entity_type=name,
        entity_id=str(row.pk),
        details=details,
        performed_by=by.staff_id,
    )


@contextmanager
def changes_of(rows: models.QuerySet[Any], *, by: Account) -> Iterator[None]:
    """Log what a block changes or deletes among these rows, in the same transaction as the block."""
    with transaction.atomic():
        before = {
            row.pk: (row, values_of(row)) for row in rows.select_for_update(of=("self",)).order_by("pk")
        }
        yield
        now = {row.pk: values_of(row) for row in rows.model._base_manager.filter(pk__in=before)}
        for pk, (row, values) in before.items():
            row.pk = pk  # Django sets it to None on a row that it deletes
            record_change(row, before=values, after=now.get(pk), by=by)


def is_secret(model: type[models.Model], name: str) -> bool:
    """Tell whether a field's values must never be shown."""
    return bool(SECRET_FIELD.search(name)) and f"{model._meta.object_name}.{name}" not in NO_SECRETS


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _as_json(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [_as_json(each) for each in value]
    return str(value)
