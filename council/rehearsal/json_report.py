"""An outcome as JSON, with keys that scripts may rely on."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from council.gateway.statements import READ, STATEMENTS, WRITE
from council.rehearsal import outcome as outcomes
from council.rehearsal.load import TimedStatement
from council.rehearsal.outcome import MigrationOutcome, Outcome, Waits


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
    record = outcome.record
    during = {kind: outcomes.waits(outcome.during, kind=kind) for kind in (READ, WRITE)}
    return {
        "passed": outcome.is_passed,
        "faults": outcome.faults,
        "notes": outcome.notes,
        "max_wait_ms": record.max_wait_ms,
        "longest_read_ms": _rounded(during[READ].longest_ms),
        "longest_write_ms": _rounded(during[WRITE].longest_ms),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": record.origin.source,
        "target": record.origin.target,
        "postgresql": record.origin.postgresql,
        "left_out": record.origin.left_out,
        "copy_ms": _rounded(record.origin.copy_seconds * 1000),
        "machine": outcomes.machine(),
        "load": {
            "clients": record.load.clients,
            "statements_per_second": record.load.per_second,
            "open_transaction_ms": record.load.held_seconds * 1000,
            "open_transactions": len(record.open_transactions),
        },
        "duration_ms": _rounded((record.ended - record.began) * 1000),
        "exit_status": record.status,
        "size_before_bytes": record.size_before_bytes,
        "size_after_bytes": record.size_after_bytes,
        "before": _by_kind(outcome.before),
        "during": {kind: _as_dict(waits) for kind, waits in during.items()},
        "migrations": [_migration(migration) for migration in outcome.migrations],
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


def _migration(migration: MigrationOutcome) -> dict[str, Any]:
    run, predicted = migration.run, migration.predicted
    return {
        "name": run.name,
        "is_finished": run.ended is not None,
        "duration_ms": _rounded(migration.seconds * 1000),
        "predicted_ms": None if predicted.seconds is None else _rounded(predicted.seconds * 1000),
        **_by_kind(migration.samples),
        "locks": [lock._asdict() for lock in migration.locks],
        "size_before_bytes": run.size_before_bytes,
        "size_after_bytes": run.size_after_bytes,
        "warnings": predicted.warnings,
    }


def _by_kind(samples: Sequence[TimedStatement]) -> dict[str, Any]:
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
