"""Reports of errors to Sentry, where SENTRY_DSN is set: what the log says of them, and nothing that anybody sent."""

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
    """Send errors, and log records at ERROR, from now on."""
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
    """Keep where an error happened and which request it was in; leave out what the request and the error hold."""
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
