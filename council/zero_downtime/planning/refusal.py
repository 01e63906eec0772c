"""What migrate refuses before it writes anything: steps that block others for longer than the lock timeout."""

import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from django.core.management import CommandError

from council.postgres import units
from council.zero_downtime.planning import plan_report, rules
from council.zero_downtime.planning.rules import Risk
from council.zero_downtime.planning.steps import HeldLock, Step

GO_ON = (
    "If nobody uses these tables now, run `manage.py migrate --accept-risks`. To accept a risk permanently, write its "
    "rule and the reason into the migration's `accepts`, or for another package into the setting "
    "ACCEPTED_MIGRATION_RISKS."
)


class Harm(NamedTuple):
    """The harm of one step: the locks held for too long while it runs, and the reasons."""

    step: Step
    locks: list[HeldLock]
    risks: list[Risk]


class Refused(CommandError):
    """The plan would block others for too long. Nothing was written."""

    def __init__(self, harms: Sequence[Harm], *, limit_seconds: float) -> None:
        super().__init__(
            f"{units.count(len(harms), 'operation')} would make other users of the database wait for longer than "
            f"{units.duration(limit_seconds)}. Nothing was changed.\n" + "\n".join([*lines(harms), GO_ON])
        )


def refuse(steps: Sequence[Step], *, limit_seconds: float) -> None:
    """Raise Refused if a plan does harm."""
    if found := list(harms(steps, limit_seconds=limit_seconds)):
        raise Refused(found, limit_seconds=limit_seconds)


def harms(steps: Sequence[Step], *, limit_seconds: float) -> Iterator[Harm]:
    """Find the steps that block others for longer than a limit, and whose risks nobody has accepted."""
    for _, own in itertools.groupby(steps, key=operator.attrgetter("migration")):
        pieces = list(own)
        for together in [pieces] if all(step.is_atomic for step in pieces) else [[step] for step in pieces]:
            yield from _of_transaction(together, limit_seconds)


def _of_transaction(steps: list[Step], limit_seconds: float) -> Iterator[Harm]:
    longest: dict[str, HeldLock] = {}
    for held in (held for step in steps for held in step.locks):
        if held.is_felt and held.seconds > limit_seconds:
            longest[held.lock.table] = max(
                held, longest.get(held.lock.table, held), key=lambda one: one.seconds
            )
    too_long = list(longest.values())
    for number, step in enumerate(steps):
        left = sum(later.seconds for later in steps[number:])
        is_blind = step.blind_seconds > limit_seconds and step.is_atomic
        applies = {
            **dict.fromkeys(rules.WAITING, bool(too_long)),
            **dict.fromkeys(rules.BLIND, is_blind),
            rules.ROWS_LOCKED.rule: left > limit_seconds,
        }
        if risks := [risk for risk in step.warnings if applies.get(risk.rule)]:
            yield Harm(step, too_long, risks)


def lines(harms: Sequence[Harm]) -> Iterator[str]:
    """Write the harms as lines, phrased as in the plan."""
    for migration, own in itertools.groupby(harms, key=lambda harm: harm.step.migration):
        yield migration
        for harm in own:
            yield f"  {harm.step.operation}"
            if harm.step.instead_of:
                yield f"    instead of: {harm.step.instead_of}"
            yield from (f"    {plan_report.lock(held)}" for held in harm.locks)
            yield from (f"    {risk.rule}: {risk.fault} {risk.cure}" for risk in harm.risks)
