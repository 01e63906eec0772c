"""Error reports to Sentry, if SENTRY_DSN is set. They hold what the log holds, and nothing that a user sent."""

from typing import Any

import sentry_sdk
from django.conf import settings
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.integrations.logging import LoggingIntegration

from council import logs

KEPT = (
    "event_id",
    "timestamp",
    "level",
    "logger",
    "platform",
    "release",
    "environment",
    "sdk",
    "contexts",
)


def begin() -> None:
    """Start sending unhandled errors and log records of level ERROR."""
    sentry_sdk.init(
        dsn=settings.SENTRY_DSN,
        integrations=[DjangoIntegration(), LoggingIntegration(level=None)],
        before_send=without_values,  # type: ignore[arg-type]  # its types are private
        max_breadcrumbs=0,
        include_local_variables=False,
        max_request_body_size="never",
        send_default_pii=False,
    )


def without_values(event: dict[str, Any], hint: dict[str, Any]) -> dict[str, Any]:
    """Keep the place of an error and the request's id and path. Remove the data of the request and the error."""
    request = logs.REQUEST.get()
    kept: dict[str, Any] = {name: event[name] for name in KEPT if name in event}
    if request is not None:
        path = logs.without_secrets(request.path)[: logs.MAX_PATH_LENGTH]
        kept["request"] = {"method": request.method, "url": path}
        kept["tags"] = {"request_id": logs.request_id(request)}
    record = hint.get("log_record")
    if record is not None:
        kept["logentry"] = {"formatted": logs.without_secrets(record.getMessage())}
    if "exception" in event:
        values = event["exception"]["values"]
        errors = {type(error).__name__: logs.describe(error) for error in _chain(hint)}
        kept["exception"] = {
            "values": [
                {**value, "value": errors.get(value.get("type"), "(message left out)")} for value in values
            ]
        }
    return kept


def _chain(hint: dict[str, Any]) -> list[BaseException]:
    found: list[BaseException] = []
    error = hint["exc_info"][1] if hint.get("exc_info") else None
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
