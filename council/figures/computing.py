"""Computing all figures every hour, and reading the results."""

import logging
from dataclasses import dataclass
from datetime import datetime

from django.db import DatabaseError, transaction

from council import jobs
from council.figures.registry import FIGURES, Figure
from council.figures.tables import Months, Table
from council.jobs.lease import database_clock
from council.models import FigureTable

logger = logging.getLogger("council.figures")


@dataclass(frozen=True)
class Shown:
    """A figure with its last computed table. `table` is None if it has not been computed yet."""

    figure: Figure
    table: Table | None
    computed_at: datetime | None


class NotComputed(Exception):
    """Some figures could not be computed. Their earlier tables stay."""


@jobs.register("compute_figures", jobs.Every(minutes=60))
def compute_figures(run: jobs.Run) -> jobs.Counts:
    """Compute the figures that staff see in the admin."""
    faults = []
    for figure in FIGURES.values():
        run.report()
        try:
            with transaction.atomic():
                compute(figure)
        except DatabaseError as error:
            logger.warning("The figure %s could not be computed", figure.name, exc_info=True)
            faults.append(f"{figure.name}: {str(error).partition(chr(10))[0]}")
    if faults:
        raise NotComputed("; ".join(faults))
    return {"figures": len(FIGURES)}


def compute(figure: Figure) -> None:
    now = database_clock()
    table = figure.compute(Months(now))
    FigureTable.objects.update_or_create(
        figure=figure.name, defaults={"computed_at": now, "table": table.as_json()}
    )


def shown() -> list[Shown]:
    """Return all figures with their last computed tables, in one query."""
    kept = FigureTable.objects.in_bulk(list(FIGURES))
    found = []
    for name, figure in FIGURES.items():
        row = kept.get(name)
        found.append(
            Shown(figure, Table.from_json(row.table) if row else None, row.computed_at if row else None)
        )
    return found
