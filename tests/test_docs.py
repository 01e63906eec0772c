"""Everything that the documents name exists: commands, options, variables, links, files, messages."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from tests.databases import ROOT

pytestmark = pytest.mark.any_server

OPERATING = ROOT / "docs/operating.md"
SETTINGS = ROOT / "docs/settings.md"
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
CODE = ["manage.py", "gunicorn.conf.py", "council", "gamification", "resources", "benchmarks"]

COMMAND = re.compile(r"manage\.py (?P<name>[a-z_]+)(?P<rest>(?: [^\s`#|&;]+)*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
VARIABLE = re.compile(r"`([A-Z][A-Z0-9_]{3,})`")
NOT_OURS = {"DJANGO_SETTINGS_MODULE", "HOME"}


@cache
def options(command: str) -> frozenset[str]:
    parser = load_command_class(get_commands()[command], command).create_parser("manage.py", command)
    return frozenset(parser._option_string_actions)


@cache
def sources() -> list[ast.Module]:
    files = [
        file
        for name in CODE
        for file in ([ROOT / name] if name.endswith(".py") else (ROOT / name).rglob("*.py"))
    ]
    return [ast.parse(file.read_text()) for file in files]


def variables_read() -> set[str]:
    """Find the variables that are read with os.environ or with the functions of council/settings.py."""
    found = set()
    for tree in sources():
        for node in ast.walk(tree):
            match node:
                case (
                    ast.Call(
                        func=ast.Attribute(value=ast.Attribute(attr="environ"), attr="get"),
                        args=[ast.Constant(name), *_],
                    )
                    | ast.Call(
                        func=ast.Name(id="flag" | "number" | "text" | "web_address"),
                        args=[ast.Constant(name), *_],
                    )
                ) if isinstance(name, str):
                    found.add(name)
    # settings.py reads the two URLs in a loop.
    return found | {"DATABASE_URL", "DIRECT_URL"}


def variables_listed(document: Path) -> set[str]:
    """List the variables in tables that have a column of variables, the first or the second one."""
    tables = re.findall(r"^(?:\|.*\n)+", document.read_text(), re.MULTILINE)
    about = [table for table in tables if re.match(r"\| (option \| )?variable \|", table)]
    cells = [cell for table in about for row in table.splitlines() for cell in row.split("|")[1:3]]
    return {name for cell in cells for name in VARIABLE.findall(cell)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    wrong = []
    for match in COMMAND.finditer(document.read_text()):
        if match["name"] not in get_commands():
            wrong.append(match[0])
            continue
        wrong += [
            f"{match[0]}: {given}"
            for given in OPTION.findall(match["rest"])
            if given not in options(match["name"])
        ]

    assert wrong == []


@pytest.mark.parametrize("document", [OPERATING, ROOT / "docs/migrations.md"], ids=lambda path: path.name)
def test_every_option_in_a_document_belongs_to_a_command_in_it(document: Path) -> None:
    text = document.read_text()
    named = {match["name"] for match in COMMAND.finditer(text)} & set(get_commands())
    alone = set(re.findall(r"`(--[a-z-]+)`", text))

    assert alone - frozenset().union(*map(options, named)) == set()


def test_the_listed_settings_are_those_that_the_code_reads() -> None:
    assert variables_listed(SETTINGS) == variables_read() - NOT_OURS


def test_readme_leads_to_every_document() -> None:
    text = (ROOT / "README.md").read_text()

    assert [path.name for path in DOCUMENTS[1:] if path.name not in text] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_has_a_target(document: Path) -> None:
    wrong = []
    for file, anchor in LINK.findall(document.read_text()):
        target = (document.parent / file).resolve() if file else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(f"{file}#{anchor}")

    assert wrong == []


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives to a document's headings."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_message_in_the_table_is_in_the_code() -> None:
    """The table lists what migrate says when it stops. People on call search it for these quotes."""
    section = OPERATING.read_text().partition("## It stopped half-way")[2].partition("\n### ")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    nodes = [node for tree in sources() for node in ast.walk(tree)]
    said = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    said += [
        f"{node.name}:" for node in nodes if isinstance(node, ast.ClassDef)
    ]  # the prefix with which Django prints CommandErrors

    assert len(messages) > 10
    assert [message for message in messages if not any(message in words for words in said)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_in_a_document_exists(document: Path) -> None:
    """Checks paths with a folder, in code: `council/headers.py`, `tests/performance/`. Templates have none."""
    named = re.findall(
        r"`((?:council|gamification|resources|benchmarks|tests|docs|deploy)/[\w./-]+)`", document.read_text()
    )

    assert [name for name in named if not (ROOT / name).exists() and not name.endswith(".html")] == []
