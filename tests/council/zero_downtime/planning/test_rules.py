"""The rules are one table, which docs/migrations.md repeats exactly."""

import re
from pathlib import Path

import pytest

from council.zero_downtime.planning import rules
from council.zero_downtime.planning.rules import Risk
from tests.databases import ROOT

HEAD = "| rule | what it warns of |\n|---|---|\n"
RISKS = [risk for risk in vars(rules).values() if isinstance(risk, Risk)]

pytestmark = pytest.mark.any_server


def test_the_documents_list_the_rules() -> None:
    text = "".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
    table = "".join(f"| `{rule}` | {words} |\n" for rule, words in rules.RULES.items())
    assert f"{HEAD}{table}\n" in text


def test_each_fault_has_a_rule_and_each_rule_has_a_fault() -> None:
    assert {risk.rule for risk in RISKS} == rules.RULES.keys()
    assert rules.RULES.keys() >= rules.WAITING >= rules.BLIND


def test_a_fault_and_its_cure_are_sentences() -> None:
    for risk in RISKS:
        for words in (risk.fault, risk.cure):
            assert re.search(r"^(\W|[A-Z]|migrate|\{).*(\.|\}|\)\.)$", words), words


def test_only_the_table_has_messages_for_risks() -> None:
    found = [
        path
        for path in (ROOT / "council").rglob("*.py")
        if re.search(r"\bRisk\(\n?\s*\"", path.read_text()) and path != Path(rules.__file__)
    ]
    assert found == []
