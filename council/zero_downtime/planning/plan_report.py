"""Formats a plan, for a terminal and as JSON."""

from collections.abc import Iterator
from typing import Any

from council.postgres import units
from council.zero_downtime.planning.effects import Kind, Work
from council.zero_downtime.planning.estimates import INSTANT_SECONDS
from council.zero_downtime.planning.steps import HeldLock, Step


def span(seconds: float | None) -> str:
    """Format a duration, rounded as suits an estimate."""
    if seconds is None:
        return units.NONE
    return "an instant" if seconds < INSTANT_SECONDS else f"about {units.duration(seconds)}"


def longest_wait(steps: list[Step]) -> float:
    """Return the longest time, in seconds, that others' reads or writes wait for a lock of the plan."""
    return max((held.seconds for step in steps for held in step.locks if held.is_felt), default=0.0)


def waits(steps: list[Step]) -> str:
    """Say how long reads and writes wait, as far as that is known."""
    blind = sum(step.is_blind for step in steps)
    known = f"reads and writes wait for {span(longest_wait(steps))} at most"
    if not blind:
        return known
    return f"{known}; this is unknown for {units.count(blind, 'operation')}"


def summary(steps: list[Step]) -> str:
    """Summarise a plan in one line."""
    if not steps:
        return "Nothing to do."
    migrations = len({step.migration for step in steps})
    warnings = sum(len(step.warnings) for step in steps)
    return (
        f"{units.count(migrations, 'migration')}, {units.count(len(steps), 'operation')}: "
        f"{span(sum(step.seconds for step in steps))} in all; "
        f"{waits(steps)}; {units.count(warnings, 'warning')}."
    )


def lines(step: Step) -> Iterator[str]:
    """Yield the lines about one step, without its migration's name and its warnings."""
    if step.instead_of:
        yield f"instead of: {step.instead_of}"
    yield from step.found
    for held in step.locks:
        yield lock(held)
    for work in step.work:
        yield _work(work)
    yield f"{'reversible' if step.is_reversible else 'cannot be reversed'}; " + (
        "earlier code: " + "; ".join(step.breaks) if step.breaks else "earlier code keeps working"
    )


def lock(held: HeldLock) -> str:
    waits = "wait" if held.lock.is_felt else "waits"
    return f'{held.lock.mode} on "{held.lock.table}" for {span(held.seconds)}: {held.lock.blocks} {waits}'


def _work(work: Work) -> str:
    extent = f"{units.count(work.rows, 'row')}, {units.size(work.bytes)}"
    if work.kind is Kind.CHANGE:
        extent = f"{work.entries:,} of {extent}" + (
            f", in {units.count(work.batches, 'batch')}" if work.batches else ""
        )
    if not work.is_counted:
        extent = f'number of rows unknown: run ANALYZE "{work.table}", then plan again'
    return f'{work.kind} of "{work.table}": {extent}'


def as_json(steps: list[Step]) -> dict[str, Any]:
    """Return a plan as data for JSON. Seconds are estimates; `waits` names who waits for a lock."""
    return {
        "summary": summary(steps),
        "seconds": round(sum(step.seconds for step in steps), 3),
        "longest_wait_seconds": round(longest_wait(steps), 3),
        "warnings": sum(len(step.warnings) for step in steps),
        "steps": [
            {
                "migration": step.migration,
                "operation": step.operation,
                "instead_of": step.instead_of,
                "found": step.found,
                "sql": step.sql,
                "seconds": round(step.seconds, 3),
                "in_transaction": step.is_atomic,
                "reversible": step.is_reversible,
                "breaks_earlier_code": step.breaks,
                "locks": [
                    {
                        "table": held.lock.table,
                        "mode": held.lock.mode,
                        "waits": held.lock.blocks,
                        "seconds": round(held.seconds, 3),
                    }
                    for held in step.locks
                ],
                "work": [
                    {
                        "kind": work.kind,
                        "table": work.table,
                        "rows": work.rows,
                        "bytes": work.bytes,
                        "entries": work.entries,
                        "batches": work.batches,
                        "counted": work.is_counted,
                    }
                    for work in step.work
                ],
                "warnings": [risk._asdict() for risk in step.warnings],
                "accepted": [
                    {**risk._asdict(), "why": step.accepted[risk.rule]}
                    for risk in step.risks
                    if risk.rule in step.accepted
                ],
            }
            for step in steps
        ],
    }
