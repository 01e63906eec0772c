"""An outcome as one self-contained HTML page: for e-mail, an archive, or a browser without network."""

from pathlib import Path
from typing import Any

from django.template import Context, Engine
from django.utils.safestring import mark_safe

from council.gateway.statements import READ, WRITE
from council.rehearsal import figures, picture, words
from council.rehearsal import outcome as outcomes
from council.rehearsal.outcome import Outcome
from council.rehearsal.picture import Panel

TEMPLATE = Path(__file__).with_name("page.html")
TOP, BOTTOM = 14, 28
LAST_LINES = 15


def render(outcome: Outcome) -> str:
    record = outcome.record
    found = figures.as_json(outcome)
    memory = words.size(found["machine"]["memory_bytes"])
    context = found | {
        "date": found["date"].replace("T", " ").removesuffix("+00:00"),
        "source": found["source"][:1].upper() + found["source"][1:],
        "machine": f"{found['machine']['cores']} cores, {memory} of memory",
        "budget": words.milliseconds(record.max_wait_ms),
        "figures": _figures(found),
        "migrations": [_migration(migration, record.max_wait_ms) for migration in found["migrations"]],
        "statements": [
            {
                **statement,
                "count": f"{statement['count']:,}",
                "longest": words.milliseconds(statement["longest_ms"]),
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
            "picture_words": _picture_words(found),
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
            (migration.step.began, migration.step.began + migration.seconds, migration.step.name)
            for migration in outcome.migrations
        ],
        held=record.open_transactions,
        budget_ms=record.max_wait_ms,
        top=TOP,
    )


def _picture_words(found: dict[str, Any]) -> str:
    told = [
        f"The longest {kind} waited {words.milliseconds(found['before'][kind]['longest_ms'])} before the "
        f"migrations and {words.milliseconds(found['during'][kind]['longest_ms'])} while they ran."
        for kind in (READ, WRITE)
    ]
    return " ".join(told)


def _figures(found: dict[str, Any]) -> list[dict[str, Any]]:
    told = [
        {
            "name": f"Longest {kind}",
            "value": words.milliseconds(longest := found["during"][kind]["longest_ms"]),
            "words": f"99 % within {words.milliseconds(found['during'][kind]['p99_ms'])}; before the migrations "
            f"{words.milliseconds(found['before'][kind]['longest_ms'])} at most",
            "is_over": longest is not None and longest > found["max_wait_ms"],
        }
        for kind in (READ, WRITE)
    ]
    held = found["load"]["open_transactions"]
    told.append(
        {
            "name": "Migrations took",
            "value": words.seconds(found["duration_ms"] / 1000),
            "words": f"beside {held} transaction{'' if held == 1 else 's'} that stayed open for "
            f"{words.seconds(found['load']['open_transaction_ms'] / 1000)}",
        }
    )
    count = sum(found["during"][kind]["count"] for kind in (READ, WRITE))
    told.append(
        {
            "name": "Statements meanwhile",
            "value": f"{count:,}",
            "words": f"{found['load']['statements_per_second']:,.0f} a second from {found['load']['clients']} clients",
        }
    )
    told.append(
        {
            "name": "Size",
            "value": words.size(found["size_after_bytes"]),
            "words": f"{words.size(found['size_before_bytes'])} before",
        }
    )
    return told


def _migration(found: dict[str, Any], allowed_ms: float) -> dict[str, Any]:
    longest = {kind: found[kind]["longest_ms"] for kind in (READ, WRITE)}
    predicted_ms = found["predicted_ms"]
    return {
        "name": found["name"],
        "is_finished": found["is_finished"],
        "took": words.seconds(found["duration_ms"] / 1000),
        "predicted": words.predicted(None if predicted_ms is None else predicted_ms / 1000),
        **{kind: words.milliseconds(value) for kind, value in longest.items()},
        **{f"{kind}_is_over": value is not None and value > allowed_ms for kind, value in longest.items()},
        "before": words.size(found["size_before_bytes"]),
        "after": words.size(found["size_after_bytes"]),
        "locks": [words.lock(outcomes.Lock(**lock)) for lock in found["locks"]],
        "warnings": found["warnings"],
    }
