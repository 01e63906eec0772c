"""The figures of made-up members, whose ledger a rehearsal fills in while triggers are off."""

import psycopg

from council.rehearsal import filling

BATCH_MEMBERS = 20_000

TOTALS = """
    UPDATE "Member"
       SET "totalPoints" = ledger.points, "lastActiveAt" = ledger.newest
      FROM (SELECT "memberId", sum(points) AS points, max("createdAt") AS newest
              FROM "PointTransaction"
             GROUP BY "memberId") AS ledger
     WHERE ledger."memberId" = "Member".id
"""
FIGURES = """
    UPDATE "Member"
       SET "totalPoints" = ledger.total_points, "pointsMonth" = ledger.points_month,
           "monthPoints" = coalesce(ledger.month_points, 0), "lastActiveAt" = ledger.last_active_at,
           "currentStreak" = coalesce(ledger.streak, 0)
      FROM points_by_ledger(%s) AS ledger
     WHERE ledger.member_id = "Member".id
"""
HAS_LEDGER = """SELECT to_regclass('"PointTransaction"') IS NOT NULL"""
KNOWS_FIGURES = """
    SELECT to_regproc('points_by_ledger') IS NOT NULL
       AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = '"Member"'::regclass AND attname = 'monthPoints')
"""
HAVE_POINTS = 'SELECT DISTINCT "memberId" FROM "PointTransaction" ORDER BY 1'


@filling.register("points")
def sum_points(session: psycopg.Connection) -> None:
    """Set the members' figures as the triggers of the database's current schema would have set them."""
    if session.execute(HAS_LEDGER).fetchone() != (True,):
        return
    if session.execute(KNOWS_FIGURES).fetchone() != (True,):
        session.execute(TOTALS)
        return
    members = [row[0] for row in session.execute(HAVE_POINTS).fetchall()]
    for first in range(0, len(members), BATCH_MEMBERS):
        session.execute(FIGURES, [members[first : first + BATCH_MEMBERS]])
