"""An outcome as one self-contained HTML page: for e-mail, an archive, or a browser without network."""

from pathlib import Path
from typing import Any

from django.template import Context, Engine
from django.utils.safestring import mark_safe

from council.gateway.statements import READ, WRITE
from council.postgres import units
from council.rehearsal import json_report, picture
from council.rehearsal import outcome as outcomes
from council.rehearsal.outcome import Outcome
from council.rehearsal.picture import Panel
from council.zero_downtime.planning import plan_report

TEMPLATE = Path(__file__).with_name("page.html")
TOP, BOTTOM = 14, 28
LAST_LINES = 15


def render(outcome: Outcome) -> str:
    record = outcome.record
    found = json_report.as_json(outcome)
    memory = units.size(found["machine"]["memory_bytes"])
    context = found | {
        "date": found["date"].replace("T", " ").removesuffix("+00:00"),
        "source": found["source"][:1].upper() + found["source"][1:],
        "machine": f"{found['machine']['cores']} cores, {memory} of memory",
        "budget": units.milliseconds(record.max_wait_ms),
        "figures": _figures(found),
        "migrations": [_migration(migration, record.max_wait_ms) for migration in found["migrations"]],
        "statements": [
            {
                **statement,
                "count": f"{statement['count']:,}",
                "longest": units.milliseconds(statement["longest_ms"]),
                "is_over": statement["longest_ms"] > record.max_wait_ms,
            }
            for statement in found["statements"]
        ],
        "output": "\n".join(record.output[-LAST_LINES:]) if record.status else "",
        "picture": "",
    }
    if record.samples:
        panel = _panel(outcome)
        context |= {
            "picture": mark_safe(picture.draw(panel)),  # noqa: S308  # it escapes its input
            "picture_description": _describe_picture(found),
            "width": picture.WIDTH,
            "height": TOP + picture.HEIGHT + BOTTOM,
        }
    return Engine().from_string(TEMPLATE.read_text()).render(Context(context))


def _panel(outcome: Outcome) -> Panel:
    record = outcome.record
    return Panel(
        samples=[(sample.due, sample.waited, sample.kind) for sample in record.samples],
        deploy=(record.began, record.ended),
        bands=[
            (migration.run.began, migration.run.began + migration.seconds, migration.run.name)
            for migration in outcome.migrations
        ],
        held=record.open_transactions,
        budget_ms=record.max_wait_ms,
        top=TOP,
    )


def _describe_picture(found: dict[str, Any]) -> str:
    told = [
        f"The longest {kind} waited {units.milliseconds(found['before'][kind]['longest_ms'])} before the "
        f"migrations and {units.milliseconds(found['during'][kind]['longest_ms'])} while they ran."
        for kind in (READ, WRITE)
    ]
    return " ".join(told)


def _figures(found: dict[str, Any]) -> list[dict[str, Any]]:
    told = [
        {
            "name": f"Longest {kind}",
            "value": units.milliseconds(longest := found["during"][kind]["longest_ms"]),
            "note": f"99 % within {units.milliseconds(found['during'][kind]['p99_ms'])}; before the migrations "
            f"{units.milliseconds(found['before'][kind]['longest_ms'])} at most",
            "is_over": longest is not None and longest > found["max_wait_ms"],
        }
        for kind in (READ, WRITE)
    ]
    held = found["load"]["open_transactions"]
    count = sum(found["during"][kind]["count"] for kind in (READ, WRITE))
    return [
        *told,
        {
            "name": "Migrations took",
            "value": units.duration(found["duration_ms"] / 1000),
            "note": f"while {units.count(held, 'transaction')} stayed open for "
            f"{units.duration(found['load']['open_transaction_ms'] / 1000)}",
        },
        {
            "name": "Statements sent",
            "value": f"{count:,}",
            "note": f"{found['load']['statements_per_second']:,.0f} a second from {found['load']['clients']} clients",
        },
        {
            "name": "Size",
            "value": units.size(found["size_after_bytes"]),
            "note": f"{units.size(found['size_before_bytes'])} before",
        },
    ]


def _migration(found: dict[str, Any], allowed_ms: float) -> dict[str, Any]:
    longest = {kind: found[kind]["longest_ms"] for kind in (READ, WRITE)}
    predicted_ms = found["predicted_ms"]
    return {
        "name": found["name"],
        "is_finished": found["is_finished"],
        "took": units.duration(found["duration_ms"] / 1000),
        "predicted": plan_report.span(None if predicted_ms is None else predicted_ms / 1000),
        **{kind: units.milliseconds(value) for kind, value in longest.items()},
        **{f"{kind}_is_over": value is not None and value > allowed_ms for kind, value in longest.items()},
        "before": units.size(found["size_before_bytes"]),
        "after": units.size(found["size_after_bytes"]),
        "locks": [str(outcomes.LockComparison(**lock)) for lock in found["locks"]],
        "warnings": found["warnings"],
    }
