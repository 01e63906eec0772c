"""Staff figures about points, activity, and members who may be about to leave.

Activity means a ledger row that the member earned: positive, and neither an adjustment nor a reversal.
"""

from collections.abc import Iterator, Mapping

from council import figures
from council.figures import Chart, Column, Export, Months, Table, rows_of
from council.figures.tables import Cell
from council.jobs.lease import database_clock
from council.models import Member, SubscriptionStatus
from gamification.models import Action

DAYS = 30
COHORTS = 12
SHOWN_AT_RISK = 50
BATCH_MEMBERS = 1_000
LISTED_RISK, HIGH_RISK = 30, 60

EARNED = """entry.points > 0 AND entry.action <> 'admin_adjustment' AND entry."reversesId" IS NULL"""

POINTS = """
    SELECT entry.action,
           coalesce(sum(entry.points) FILTER (WHERE entry."createdAt" >= %(this_month)s), 0)::bigint,
           coalesce(sum(entry.points) FILTER (WHERE entry."createdAt" < %(this_month)s), 0)::bigint
      FROM "PointTransaction" AS entry
     WHERE entry."createdAt" >= %(month_before)s
     GROUP BY entry.action
     ORDER BY 2 DESC, entry.action
"""
POINTS_BY_DAY = """
    SELECT entry."createdAt"::date::text, entry.action, sum(entry.points)::bigint
      FROM "PointTransaction" AS entry
     WHERE entry."createdAt" >= %(now)s::date - %(days)s + 1
     GROUP BY 1, 2
"""
ACTIVE = f"""
    SELECT count(DISTINCT entry."memberId") FILTER (WHERE entry."createdAt" >= %(this_month)s),
           count(DISTINCT entry."memberId") FILTER (WHERE entry."createdAt" < %(this_month)s)
      FROM "PointTransaction" AS entry
     WHERE entry."createdAt" >= %(month_before)s
       AND {EARNED}
"""  # noqa: S608  # a constant of this module
COHORT_ACTIVITY = f"""
    WITH joined AS (
        SELECT member.id, date_trunc('month', member."createdAt")::date AS month
          FROM "Member" AS member
         WHERE member."createdAt" >= %(this_month)s::date - make_interval(months => %(cohorts)s - 1)
           AND member."createdAt" <= %(now)s
    ), active AS (
        SELECT joined.month,
               date_trunc('month', entry."createdAt")::date AS active_month,
               count(DISTINCT joined.id) AS members
          FROM joined
          JOIN "PointTransaction" AS entry ON entry."memberId" = joined.id
         WHERE entry."createdAt" >= joined.month
           AND entry."createdAt" <= %(now)s
           AND {EARNED}
         GROUP BY 1, 2
    ), sizes AS (
        SELECT month, count(*) AS members FROM joined GROUP BY month
    )
    SELECT sizes.month::text,
           sizes.members,
           active.active_month::text,
           round(100.0 * active.members / sizes.members)::int
      FROM sizes
      LEFT JOIN active USING (month)
"""  # noqa: S608  # a constant of this module
# `among_…` limits the query to a batch of members. It is SQL that begins with AND, or empty for all members.
AT_RISK = """
    SELECT scored.id, scored.name, scored.standing,
           scored.idle + scored.slowing + scored.past_due + scored.failed_payment AS risk,
           scored.idle, scored.slowing, scored.past_due, scored.failed_payment
      FROM (SELECT member.id,
                   coalesce(nullif(trim(concat_ws(' ', member."firstName", member."lastName")), ''),
                            member."discordUsername", member.id) AS name,
                   member."subscriptionStatus"::text AS standing,
                   CASE WHEN last.moment < %(now)s - interval '30 days' THEN 40
                        WHEN last.moment < %(now)s - interval '14 days' THEN 20
                        WHEN last.moment < %(now)s - interval '7 days' THEN 10
                        ELSE 0 END AS idle,
                   CASE WHEN activity.lately * 100 < activity.earlier * 50 THEN 30
                        WHEN activity.lately * 100 < activity.earlier * 75 THEN 15
                        ELSE 0 END AS slowing,
                   CASE WHEN member."subscriptionStatus" = 'PAST_DUE' THEN 30 ELSE 0 END AS past_due,
                   CASE WHEN member."paymentFailedAt" BETWEEN %(now)s - interval '30 days' AND %(now)s THEN 15
                        ELSE 0 END AS failed_payment
              FROM "Member" AS member
             CROSS JOIN LATERAL (SELECT coalesce(member."lastActiveAt", member."createdAt") AS moment) AS last
              LEFT JOIN (SELECT entry."memberId",
                                count(*) FILTER (WHERE entry."createdAt" > %(now)s - interval '14 days') AS lately,
                                count(*) FILTER (WHERE entry."createdAt" <= %(now)s - interval '14 days') AS earlier
                           FROM "PointTransaction" AS entry
                          WHERE entry."createdAt" > %(now)s - interval '28 days'
                            AND entry."createdAt" <= %(now)s
                            AND {earned}
                            {among_entries}
                          GROUP BY entry."memberId") AS activity ON activity."memberId" = member.id
             WHERE member."subscriptionStatus" IN ('ACTIVE', 'TRIALING', 'PAST_DUE')
               {among_members}) AS scored
     WHERE scored.idle + scored.slowing + scored.past_due + scored.failed_payment >= %(least)s
"""
ALL_AT_RISK = AT_RISK.format(earned=EARNED, among_entries="", among_members="")
SOME_AT_RISK = AT_RISK.format(
    earned=EARNED,
    among_entries='AND entry."memberId" = ANY (%(ids)s)',
    among_members="AND member.id = ANY (%(ids)s)",
)
HIGHEST_RISK = ALL_AT_RISK + " ORDER BY risk DESC, scored.id LIMIT %(rows)s"
RISK_REASONS = f"""
    SELECT count(*) FILTER (WHERE risk >= %(high)s), count(*),
           count(*) FILTER (WHERE idle > 0), count(*) FILTER (WHERE slowing > 0),
           count(*) FILTER (WHERE past_due > 0), count(*) FILTER (WHERE failed_payment > 0)
      FROM ({ALL_AT_RISK}) AS listed
"""  # noqa: S608  # a constant of this module
REASONS = ("idle", "less active than before", "past due", "a payment failed")


def label(action: Cell) -> str:
    """Return an action's label for staff. Actions that only the gateway knows have none, so their name is used."""
    return Action(str(action)).label if action in Action else str(action).replace("_", " ").capitalize()


@figures.register(
    "points",
    "Points by action",
    "The points in the ledger for each month, by action. Adjustments and reversals are included, and may be negative.",
)
def points(months: Months) -> Table:
    rows = [[label(action), *sums] for action, *sums in rows_of(POINTS, months.params)]
    return Table([Column("action"), *months.columns], rows)


@figures.register(
    "points_by_day",
    "Points by day",
    f"The sum of points in the ledger for each of the last {DAYS} days (UTC), by action.",
)
def points_by_day(months: Months) -> Table:
    found = {
        (day, action): total for day, action, total in rows_of(POINTS_BY_DAY, {**months.params, "days": DAYS})
    }
    actions = sorted({str(action) for _, action in found}, key=lambda action: (action not in Action, action))
    today = months.now.toordinal()
    days = [months.now.fromordinal(today - ago).date().isoformat() for ago in reversed(range(DAYS))]
    rows: list[list[Cell]] = [[day, *(found.get((day, action), 0) for action in actions)] for day in days]
    return Table([Column("day"), *(Column(label(action)) for action in actions)], rows, Chart.DAYS)


@figures.register(
    "active_members",
    "Active members",
    "Members who earned points in the month. Adjustments and reversals by staff do not count.",
)
def active_members(months: Months) -> Table:
    [row] = rows_of(ACTIVE, months.params)
    return Table([Column("members"), *months.columns], [["active", *row]])


@figures.register(
    "cohorts",
    "Activity by month joined",
    f"For the members who joined in each of the last {COHORTS} months, the share who earned points in that month "
    f"and in each later month. Month 0 is the month in which they joined.",
)
def cohorts(months: Months) -> Table:
    found = rows_of(COHORT_ACTIVITY, {**months.params, "cohorts": COHORTS})
    sizes = {str(month): members for month, members, _, _ in found}
    shares = {(str(month), str(active)): share for month, _, active, share in found if active}
    calendar = _months_until(months, COHORTS)
    rows: list[list[Cell]] = []
    for place, month in enumerate(calendar):
        later = [shares.get((month, active), 0) if month in sizes else None for active in calendar[place:]]
        rows.append([month[:7], sizes.get(month, 0), *later, *[None] * place])
    columns = [
        Column("joined"),
        Column("members"),
        *(Column(f"month {number}", "%") for number in range(COHORTS)),
    ]
    return Table(columns, rows, Chart.HEAT)


def _months_until(months: Months, count: int) -> list[str]:
    number = months.this.year * 12 + months.this.month - 1
    return [
        months.this.replace(year=each // 12, month=each % 12 + 1).isoformat()
        for each in range(number - count + 1, number + 1)
    ]


def _risk_row(row: list[Cell]) -> list[Cell]:
    _, name, standing, risk, *parts = row
    reasons = [f"{reason} (+{part})" for reason, part in zip(REASONS, parts, strict=True) if part]
    return [name, SubscriptionStatus(str(standing)).label, risk, ", ".join(reasons)]


RISK_COLUMNS = [Column("member"), Column("standing"), Column("risk"), Column("reasons")]


def _everybody_at_risk(filters: Mapping[str, str]) -> Iterator[list[Cell]]:
    least = HIGH_RISK if filters.get("risk") == "high" else LISTED_RISK
    now = Months(database_clock()).params["now"]
    after = ""
    members = Member.objects.order_by("pk").values_list("pk", flat=True)
    while ids := list(members.filter(pk__gt=after)[:BATCH_MEMBERS]):
        for row in rows_of(SOME_AT_RISK, {"now": now, "least": least, "ids": ids}):
            yield _risk_row(row)
        after = ids[-1]


@figures.register(
    "risk_reasons",
    "Members at risk, by reason",
    f"Members in good standing or past due whose risk is {LISTED_RISK} or more, out of 100. These add to the risk: "
    f"idle for more than 7, 14 or 30 days: 10, 20 or 40; activity in the last 14 days below 75 % or 50 % of that in "
    f"the 14 days before: 15 or 30; past due: 30; a payment that failed in the last 30 days: 15.",
)
def risk_reasons(months: Months) -> Table:
    [[high, listed, *by_reason]] = rows_of(
        RISK_REASONS, {**months.params, "least": LISTED_RISK, "high": HIGH_RISK}
    )
    rows: list[list[Cell]] = [["high: 60 or more", high], ["listed: 30 or more", listed]]
    rows += [[reason, count] for reason, count in zip(REASONS, by_reason, strict=True)]
    return Table([Column("reason"), Column("members")], rows)


@figures.register(
    "risk",
    "Members at risk",
    f"The {SHOWN_AT_RISK} members with the highest risk. The file lists all with a risk of {LISTED_RISK} or more.",
    export=Export(
        RISK_COLUMNS,
        {"risk": {"listed": f"{LISTED_RISK} or more", "high": f"{HIGH_RISK} or more"}},
        _everybody_at_risk,
    ),
)
def risk(months: Months) -> Table:
    found = rows_of(HIGHEST_RISK, {**months.params, "least": LISTED_RISK, "rows": SHOWN_AT_RISK})
    return Table(RISK_COLUMNS, [_risk_row(row) for row in found], Chart.NONE)
