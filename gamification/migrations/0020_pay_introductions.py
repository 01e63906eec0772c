"""Introductions that were written before the database paid for them.

Each is dated by the moment that the gateway noted, so that nobody's month or streak of today grows by it; by the day on
which the member joined where that moment cannot be.
Locks: the rows of a batch of members, for milliseconds, and none that somebody else has locked.
Safe with the code before it: yes. Way back: none is needed; what was paid stays paid.
"""

from django.db import migrations

from council import zero_downtime

PAY = """
INSERT INTO "PointTransaction" (id, "memberId", action, points, "idempotencyKey", "createdAt")
SELECT 'c' || left(replace(gen_random_uuid()::text, '-', ''), 24),
       member.id,
       rule.action,
       rule.points,
       'intro_completed:' || member.id,
       CASE WHEN member."introCompletedAt" BETWEEN timestamp '2000-01-01' AND now() AT TIME ZONE 'UTC'
            THEN member."introCompletedAt"
            WHEN member."createdAt" BETWEEN timestamp '2000-01-01' AND now() AT TIME ZONE 'UTC'
            THEN member."createdAt"
            ELSE now() AT TIME ZONE 'UTC' END
  FROM "Member" AS member
  JOIN "PointRule" AS rule ON rule.action = 'intro_completed' AND rule.enabled AND rule.points > 0
 WHERE member.id = ANY (%(keys)s)
   AND member."introCompleted"
   AND member."totalPoints" <= 2147483647 - rule.points
   AND NOT EXISTS (
         SELECT
           FROM "PointTransaction" AS paid
          WHERE paid."memberId" = member.id
            AND paid.action = 'intro_completed'
       )
 ORDER BY member.id
    ON CONFLICT ("idempotencyKey") WHERE "idempotencyKey" IS NOT NULL DO NOTHING
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("gamification", "0019_introduction_triggers")]
    operations = [zero_downtime.UpdateInBatches(model_name="council.member", sql=PAY, batch_rows=100)]
