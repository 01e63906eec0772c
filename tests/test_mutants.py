"""The lists of guards that `python -m tests.mutants` breaks match the present code."""

import re

import pytest

from tests.databases import ROOT
from tests.mutants import lists, modules

pytestmark = pytest.mark.any_server


def test_each_guard_is_in_its_file_once_and_its_tests_exist() -> None:
    faults = []
    for mutant in lists.read(""):
        if mutant.file and (times := (ROOT / mutant.file).read_text().count(mutant.before)) != 1:
            faults.append(f"{mutant} is there {times} times")
        faults += [f"{mutant} names {test}" for test in mutant.tests if not exists(test)]
    assert not faults, "\n".join(faults)


def test_each_module_and_each_excused_mutant_exists() -> None:
    faults = []
    for module in modules.LIST["module"]:
        text = modules.flat((ROOT / module["file"]).read_text())
        faults += [f"{module['file']} names {test}" for test in module["tests"] if not exists(test)]
        faults += [
            f"{module['file']}: {given['before']}"
            for given in module.get("stays", [])
            if modules.flat(given["before"]) not in text or not given["reason"]
        ]
    assert not faults, "\n".join(faults)


def exists(test: str) -> bool:
    path, _, name = test.partition("::")
    name = re.sub(r"\[.*", "", name)
    return (ROOT / path).is_file() and f"def {name}" in (ROOT / path).read_text()
