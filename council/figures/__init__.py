"""Figures about the whole community, for staff, each with its definition.

A figure is a function that runs one query and returns a table. An app registers its figures in its module
`staff_figures`, which its AppConfig imports:

    @figures.register("standing", "Members by standing", "All members by their present subscription status.")
    def standing(months: figures.Months) -> figures.Table: ...

A job computes all figures every hour and stores the tables (`FigureTable`), so the page reads only a few rows, however
large the community is. Each run computes from the data alone, so figures never need to be reconciled.
"""

from council.figures import computing, members  # noqa: F401  # importing them registers a job and figures
from council.figures.registry import FIGURES, Export, Figure, register
from council.figures.tables import Chart, Column, Months, Table, rows_of

__all__ = ["FIGURES", "Chart", "Column", "Export", "Figure", "Months", "Table", "register", "rows_of"]
