"""Figures about members as the gateway knows them."""

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
    "All members by their present subscription status, and how many of them joined in each month.",
)
def standing(months: Months) -> Table:
    found = {row[0]: row[1:] for row in rows_of(STANDING, months.params)}
    joined = [Column(f"joined in {column.name}") for column in months.columns]
    rows = [[status.label, *found.get(status.value, [0, 0, 0])] for status in SubscriptionStatus]
    return Table([Column("standing"), Column("members"), *joined], rows)
