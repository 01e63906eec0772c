"""Template filters for the page of figures for staff."""

from django import template

from council.figures import charts
from council.figures.tables import Cell, Table

register = template.Library()


@register.filter
def drawing(table: Table) -> charts.Drawing | None:
    return charts.draw(table)


@register.filter
def shade(cell: Cell) -> int | None:
    return charts.shade(cell)


@register.filter
def is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float)
