"""Totals, months, streaks and moments of activity of the members whose ledger rows are older than the triggers.

The gateway may have added rows before anything counted them. Each batch locks its members, so a row that is added
meanwhile is counted by the trigger behind that lock, and no row twice.
Locks: the rows of some members at a time, for about 10 ms, and none that somebody else has locked.
Safe with the code before it: yes. Way back: nothing to do.
"""

from django.db import migrations

from council import zero_downtime

FILL = """
UPDATE "Member" AS member
   SET "totalPoints" = ledger.total_points,
       "pointsMonth" = ledger.points_month,
       "monthPoints" = ledger.month_points,
       "lastActiveAt" = ledger.last_active_at,
       "currentStreak" = ledger.streak
  FROM points_by_ledger(%(keys)s) AS ledger
 WHERE member.id = ledger.member_id
   AND (member."totalPoints", member."pointsMonth", member."monthPoints", member."lastActiveAt", member."currentStreak")
       IS DISTINCT FROM
       (ledger.total_points, ledger.points_month, ledger.month_points, ledger.last_active_at, ledger.streak)
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("gamification", "0025_point_transaction_triggers")]
    operations = [zero_downtime.UpdateInBatches(model_name="council.member", sql=FILL, batch_rows=500)]
