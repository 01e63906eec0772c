"""Files of figures."""

import csv
import io
import itertools
import json

import pytest

from council.figures import Column
from council.figures.export import as_csv, as_json, safe
from council.figures.tables import Cell

pytestmark = pytest.mark.any_server

COLUMNS = [Column("member"), Column("share", "%")]
ROWS: list[list[Cell]] = [["=HYPERLINK(1)", 5], ['Mia "M" Müller\nsecond', None], ["ordinary", 1.5]]


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "|calc"],
)
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(cell: str) -> None:
    assert safe(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["Mia", "a=b", "", -5, 1.5, None, "Ünder"])
def test_other_texts_are_not_changed(cell: Cell) -> None:
    assert safe(cell) == cell


def test_csv_can_be_read_back() -> None:
    text = "".join(as_csv(COLUMNS, ROWS))
    assert text.startswith("\ufeff")
    read = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))
    assert read == [
        ["member", "share (%)"],
        ["'=HYPERLINK(1)", "5"],
        ['Mia "M" Müller\nsecond', ""],
        ["ordinary", "1.5"],
    ]


@pytest.mark.parametrize("rows", [ROWS, [], ROWS[:1]])
def test_json_can_be_read_back(rows: list[list[Cell]]) -> None:
    read = json.loads("".join(as_json(COLUMNS, rows)))
    assert [list(row.values()) for row in read] == rows


def test_rows_are_written_as_they_are_read() -> None:
    lines = as_csv(COLUMNS, itertools.repeat(["x", 1]))
    assert [next(lines) for _ in range(3)][-1] == "x,1\r\n"
