"""Months and streaks of the members who had ledger rows before the triggers kept them.

Locks: the rows of up to 100 members at a time, for milliseconds, and none that somebody else has locked.
Safe with the code before it: yes. Way back: nothing to do.
"""

from django.db import migrations

from council import zero_downtime

FILL = """
UPDATE "Member" AS member
   SET "pointsMonth" = ledger.points_month,
       "monthPoints" = ledger.month_points,
       "currentStreak" = ledger.streak
  FROM points_by_ledger(%(keys)s) AS ledger
 WHERE member.id = ledger.member_id
   AND (member."pointsMonth", member."monthPoints", member."currentStreak")
       IS DISTINCT FROM (ledger.points_month, ledger.month_points, ledger.streak)
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("gamification", "0012_month_and_streak_triggers")]
    operations = [zero_downtime.UpdateInBatches(model_name="council.member", sql=FILL, batch_rows=100)]
