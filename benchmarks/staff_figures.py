"""Staff figures about benchmark submissions: their number, but never their content or their members."""

from benchmarks.definitions import Category
from council import figures
from council.figures import Column, Months, Table, rows_of

BY_CATEGORY = """
    SELECT submission.category::text,
           count(*),
           count(*) FILTER (WHERE submission."submittedAt" >= %(this_month)s),
           count(*) FILTER (WHERE submission."submittedAt" >= %(month_before)s
                              AND submission."submittedAt" < %(this_month)s)
      FROM "BenchmarkSubmission" AS submission
     GROUP BY submission.category
"""


@figures.register(
    "submissions",
    "Benchmark submissions",
    "Current submissions by category, and how many of these were first submitted in each month.",
)
def submissions(months: Months) -> Table:
    found = {row[0]: row[1:] for row in rows_of(BY_CATEGORY, months.params)}
    rows = [[category.label, *found.get(category.value, [0, 0, 0])] for category in Category]
    return Table([Column("category"), Column("submissions"), *months.columns], rows)
