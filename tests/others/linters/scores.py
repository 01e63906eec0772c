"""Precision and recall of each tool, compared with what PostgreSQL did."""

from collections.abc import Callable, Sequence
from typing import Any

from council.zero_downtime.planning import rules
from tests.others.linters.probe import is_harmful

BREAKS = {"breaks-earlier-code", "not-null-without-default"}
TOOLS = ("ours", "squawk", "django_migration_linter")
Judgement = dict[str, Any]


def is_breaking(one: Judgement) -> bool:
    return bool(one["breaks"])


def names_locks(one: Judgement) -> bool:
    return any(rule in rules.WAITING for rule in one["ours"])


def names_breaks(one: Judgement) -> bool:
    return any(rule in BREAKS for rule in one["ours"])


def table(judged: Sequence[Judgement]) -> str:
    """Write the table, with and without dependent objects, and list the mistakes of our lint."""
    lines = [
        "| tables | tool | found, by locks | found, by breaks | recall by locks | recall by breaks | precision |",
        "|---|---|---|---|---|---|---|",
    ]
    for has_dependants in (False, True):
        run = [one for one in judged if one["dependants"] is has_dependants and "error" not in one]
        where = "with dependants" if has_dependants else "as migrated"
        lines += [f"| {where} | {tool.replace('_', '-')} | {_row(run, tool)} |" for tool in TOOLS]
    left = sorted({(one["migration"], one["number"], one["error"]) for one in judged if "error" in one})
    wrong = [
        f"  {'missed' if truth(one) else 'false'}, {what}{', dependants' * one['dependants']}: {one['migration']} "
        f"{one['number']} {one['describe']}: {one['ours']} {one['breaks']} {one['locks']} {one['read']}"
        for one in judged
        if "error" not in one
        for what, truth, said in (("locks", is_harmful, names_locks), ("breaks", is_breaking, names_breaks))
        if truth(one) != said(one)
    ]
    return "\n".join([*lines, *(f"  not run: {one}" for one in left), *wrong]) + "\n"


def _row(run: Sequence[Judgement], tool: str) -> str:
    def finds(one: Judgement) -> bool:
        return names_locks(one) or names_breaks(one) if tool == "ours" else bool(one[tool])

    def by(truth: Callable[[Judgement], bool], said: Callable[[Judgement], bool]) -> tuple[int, int]:
        there = [one for one in run if truth(one)]
        return sum(map(said, there)), len(there)

    # The other tools' findings do not say whether they mean a lock or a break, so each counts for both.
    locks = by(is_harmful, names_locks if tool == "ours" else finds)
    breaks = by(is_breaking, names_breaks if tool == "ours" else finds)
    found = [one for one in run if finds(one)]
    right = sum(is_harmful(one) or is_breaking(one) for one in found)
    shares = [f"{part / whole:.2f}" if whole else "-" for part, whole in (locks, breaks, (right, len(found)))]
    cells = [f"{part} of {whole}" for part, whole in (locks, breaks)]
    return " | ".join([*cells, *shares[:2], f"{shares[2]} ({right} of {len(found)})"])
