"""Figures as CSV that is safe to open in a spreadsheet, or as JSON. Rows are written as they are read."""

import csv
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence

from council.accounts.models import Account
from council.figures.computing import Shown
from council.figures.registry import Figure
from council.figures.tables import Cell, Column
from council.models import AuditLog

FORMATS = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
# A spreadsheet treats a cell that begins with one of these as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


class UnknownFilter(Exception):
    """The page does not offer this filter, or not this value of it."""


class _Line:
    """A file for csv.writer whose `write` returns the line."""

    def write(self, line: str) -> str:
        return line


def safe(cell: Cell) -> Cell:
    """Put an apostrophe before text that a spreadsheet would run as a formula."""
    if isinstance(cell, str):
        seen = unicodedata.normalize("NFKC", cell).lstrip()
        if seen.startswith(FORMULA) or cell.startswith(FORMULA):
            return f"'{cell}"
    return cell


def as_csv(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield "\ufeff" + str(writer.writerow([safe(_name(column)) for column in columns]))
    for row in rows:
        yield str(writer.writerow([safe(cell) for cell in row]))


def as_json(columns: Sequence[Column], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    names = [_name(column) for column in columns]
    begin = "["
    for row in rows:
        yield f"{begin}\n{json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)}"
        begin = ","
    yield "[]\n" if begin == "[" else "\n]\n"


def _name(column: Column) -> str:
    return f"{column.name} ({column.unit})" if column.unit else column.name


def content(
    shown: Shown, *, file_format: str, filters: Mapping[str, str], performed_by: Account
) -> Iterator[str]:
    """Write a figure as a file, and log the export in the audit log. Raises UnknownFilter."""
    figure = shown.figure
    chosen = _checked(figure, filters)
    if figure.export:
        columns: Sequence[Column] = figure.export.columns
        rows: Iterable[Sequence[Cell]] = figure.export.rows(chosen)
    else:
        columns = shown.table.columns if shown.table else []
        rows = shown.table.rows if shown.table else []
    AuditLog.objects.create(
        action="FIGURES_EXPORTED",
        entity_type="Figure",
        entity_id=figure.name,
        details={"format": file_format, "filters": chosen},
        performed_by=performed_by.staff_id,
    )
    return {"csv": as_csv, "json": as_json}[file_format](columns, rows)


def _checked(figure: Figure, filters: Mapping[str, str]) -> dict[str, str]:
    offered = figure.export.filters if figure.export else {}
    chosen = {name: value for name, value in filters.items() if value}
    for name, value in chosen.items():
        if value not in offered.get(name, {}):
            raise UnknownFilter(f"{name} cannot be {value!r}. Choose one of the values on the page.")
    return chosen
