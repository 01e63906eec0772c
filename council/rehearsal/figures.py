"""An outcome as JSON, with keys that scripts may rely on."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from council.rehearsal import outcome as outcomes
from council.rehearsal.load import Sample
from council.rehearsal.outcome import Outcome, Waits
from council.rehearsal.statements import READ, STATEMENTS, WRITE


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return all figures. The end of a key is the unit of its number.

    passed, faults, notes           the verdict, its reasons, and remarks
    max_wait_ms                     the budget
    longest_read_ms, longest_write_ms  while the migrations ran, from when a statement was due; null if there was none
    source, target, postgresql, left_out, machine, load, date, copy_ms
    duration_ms, exit_status, size_before_bytes, size_after_bytes
    before, during                  reads and writes: count, median_ms, p99_ms, longest_ms
    migrations                      name, duration_ms, predicted_ms, read, write, locks (table, predicted, observed),
                                    size_before_bytes, size_after_bytes, warnings
    statements                      the gateway's, while the migrations ran: name, kind, count, failed, longest_ms
    """
    during = {kind: outcomes.waits(outcome.during, kind=kind) for kind in (READ, WRITE)}
    return {
        "passed": outcome.is_passed,
        "faults": outcome.faults,
        "notes": outcome.notes,
        "max_wait_ms": outcome.max_wait_ms,
        "longest_read_ms": _rounded(during[READ].longest_ms),
        "longest_write_ms": _rounded(during[WRITE].longest_ms),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": outcome.origin.source,
        "target": outcome.origin.target,
        "postgresql": outcome.origin.postgresql,
        "left_out": outcome.origin.left_out,
        "copy_ms": _rounded(outcome.origin.copy_seconds * 1000),
        "machine": outcomes.machine(),
        "load": {
            "clients": outcome.load.clients,
            "statements_per_second": outcome.load.per_second,
            "open_transaction_ms": outcome.load.held_seconds * 1000,
            "open_transactions": len(outcome.open_transactions),
        },
        "duration_ms": _rounded((outcome.ended - outcome.began) * 1000),
        "exit_status": outcome.status,
        "size_before_bytes": outcome.size_before_bytes,
        "size_after_bytes": outcome.size_after_bytes,
        "before": _by_kind(outcome.before),
        "during": {kind: _as_dict(waits) for kind, waits in during.items()},
        "migrations": [_migration(outcome, number) for number in range(len(outcome.steps))],
        "statements": [
            {
                "name": statement.name,
                "kind": statement.kind,
                "count": len(sent),
                "failed": sum(1 for sample in sent if sample.error),
                "longest_ms": _rounded(max(sample.waited for sample in sent) * 1000),
            }
            for statement in STATEMENTS
            if (sent := [sample for sample in outcome.during if sample.statement == statement.name])
        ],
    }


def _migration(outcome: Outcome, number: int) -> dict[str, Any]:
    step = outcome.steps[number]
    predicted = outcome.predicted.get(step.name)
    seconds = predicted.seconds if predicted else None
    return {
        "name": step.name,
        "is_finished": step.ended is not None,
        "duration_ms": _rounded(outcome.seconds(number) * 1000),
        "predicted_ms": None if seconds is None else _rounded(seconds * 1000),
        **_by_kind(outcome.by_step[number]),
        "locks": [asdict(lock) for lock in outcome.locks(number)],
        "size_before_bytes": step.size_before_bytes,
        "size_after_bytes": step.size_after_bytes,
        "warnings": predicted.warnings if predicted else [],
    }


def _by_kind(samples: list[Sample]) -> dict[str, Any]:
    return {kind: _as_dict(outcomes.waits(samples, kind=kind)) for kind in (READ, WRITE)}


def _as_dict(waits: Waits) -> dict[str, Any]:
    return {
        "count": waits.count,
        "median_ms": _rounded(waits.median_ms),
        "p99_ms": _rounded(waits.p99_ms),
        "longest_ms": _rounded(waits.longest_ms),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
