"""The registry of figures."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from council.figures.tables import Cell, Column, Months, Table
from council.registry import Registry

Compute = Callable[[Months], Table]


@dataclass(frozen=True)
class Export:
    """All rows behind a figure, for a file. `rows` reads them in batches, using the filters of the page."""

    columns: list[Column]
    filters: Mapping[str, Mapping[str, str]]
    rows: Callable[[Mapping[str, str]], Iterator[list[Cell]]]


@dataclass(frozen=True)
class Figure:
    """A figure. `definition` explains on the page what is counted. `export` has more rows than the page shows."""

    name: str
    title: str
    definition: str
    compute: Compute
    export: Export | None


FIGURES: Registry[Figure] = Registry()


def register(
    name: str, title: str, definition: str, *, export: Export | None = None
) -> Callable[[Compute], Compute]:
    """Add a figure to the page of figures, after those registered before it."""

    def decorate(compute: Compute) -> Compute:
        FIGURES.add(name, Figure(name, title, definition, compute, export))
        return compute

    return decorate
