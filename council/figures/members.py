"""Figures of members as the gateway knows them."""

from council.figures.registry import register
from council.figures.tables import Column, Months, Table, rows_of
from council.models import SubscriptionStatus

STANDING = """
    SELECT member."subscriptionStatus"::text,
           count(*),
           count(*) FILTER (WHERE member."createdAt" >= %(this_month)s),
           count(*) FILTER (WHERE member."createdAt" >= %(month_before)s AND member."createdAt" < %(this_month)s)
      FROM "Member" AS member
     GROUP BY member."subscriptionStatus"
"""


@register(
    "standing",
    "Members by standing",
    "Members as they are now, by subscription status; and of these, those who joined in each month.",
)
def standing(months: Months) -> Table:
    found = {row[0]: row[1:] for row in rows_of(STANDING, months.params)}
    joined = [Column(f"joined in {column.name}") for column in months.columns]
    rows = [[status.label, *found.get(status.value, [0, 0, 0])] for status in SubscriptionStatus]
    return Table([Column("standing"), Column("members"), *joined], rows)
