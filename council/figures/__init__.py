"""What staff want to know about the whole community: figures, each with its definition.

A figure is a function that asks the database once and returns a table. An app registers its figures in its module
`staff_figures`, which its AppConfig imports:

    @figures.register("standing", "Members by standing", "Members as they are now, by subscription status.")
    def standing(months: figures.Months) -> figures.Table: ...

A job computes all of them every hour and keeps the tables (`FigureTable`), so the page of figures reads a few rows,
however large the community is. Nothing is added up from one hour to the next, so there is nothing to reconcile.
"""

from council.figures import computing, members  # noqa: F401  # register a job and figures
from council.figures.registry import FIGURES, Export, Figure, register
from council.figures.tables import Chart, Column, Months, Table, rows_of

__all__ = ["FIGURES", "Chart", "Column", "Export", "Figure", "Months", "Table", "register", "rows_of"]
