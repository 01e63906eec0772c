"""Figures about the library."""

from council import figures
from council.figures import Chart, Column, Months, Table, rows_of
from resources.models import Category

SHOWN = 10

BY_CATEGORY = """
    SELECT resource.category::text,
           count(*) FILTER (WHERE download."downloadedAt" >= %(this_month)s),
           count(*) FILTER (WHERE download."downloadedAt" < %(this_month)s)
      FROM "ResourceDownload" AS download
      JOIN "Resource" AS resource ON resource.id = download."resourceId"
     WHERE download."downloadedAt" >= %(month_before)s
     GROUP BY resource.category
"""
POPULAR = """
    SELECT resource.title, resource."downloadCount"
      FROM "Resource" AS resource
     WHERE resource."downloadCount" > 0
     ORDER BY resource."downloadCount" DESC, resource.id
     LIMIT %(rows)s
"""
TRENDING = """
    SELECT resource.title,
           count(*) FILTER (WHERE download."downloadedAt" > %(now)s - interval '7 days') AS lately,
           count(*) FILTER (WHERE download."downloadedAt" <= %(now)s - interval '7 days')
      FROM "ResourceDownload" AS download
      JOIN "Resource" AS resource ON resource.id = download."resourceId"
     WHERE download."downloadedAt" > %(now)s - interval '14 days'
     GROUP BY resource.id
    HAVING count(*) FILTER (WHERE download."downloadedAt" > %(now)s - interval '7 days') > 0
     ORDER BY lately DESC, resource.id
     LIMIT %(rows)s
"""


@figures.register(
    "downloads",
    "Downloads by category",
    "Downloads in each month, including repeated ones, by the category of the resource.",
)
def downloads(months: Months) -> Table:
    found = {row[0]: row[1:] for row in rows_of(BY_CATEGORY, months.params)}
    rows = [[category.label, *found.get(category.value, [0, 0])] for category in Category]
    return Table([Column("category"), *months.columns], rows)


@figures.register("popular", "Most downloaded", f"The {SHOWN} resources with the most downloads of all time.")
def popular(months: Months) -> Table:
    return Table([Column("resource"), Column("downloads")], rows_of(POPULAR, {"rows": SHOWN}))


@figures.register(
    "trending",
    "Trending",
    f"The {SHOWN} resources with the most downloads in the last 7 days, compared with the 7 days before.",
)
def trending(months: Months) -> Table:
    rows = rows_of(TRENDING, {**months.params, "rows": SHOWN})
    return Table([Column("resource"), Column("last 7 days"), Column("7 days before")], rows, Chart.BARS)
