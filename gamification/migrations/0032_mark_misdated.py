"""Rows of the ledger that were dated in the future before the database refused such dates are marked as such.

The trigger then counts the figures of their members anew: in the total these rows count, and their dates count nowhere.
Locks: the rows of some members at a time, for about 10 ms, and none that somebody else has locked.
Safe with the code before it: yes. Way back: nothing to do.
"""

from django.db import migrations

from council import zero_downtime

# A minute more than the trigger asks for, as its clock is a little later.
MARK = """
UPDATE "PointTransaction" AS entry
   SET "isMisdated" = true
  FROM (SELECT DISTINCT unnest(%(keys)s::text[]) AS id) AS members
 WHERE entry."memberId" = members.id
   AND entry."createdAt" > CURRENT_TIMESTAMP AT TIME ZONE 'UTC' + interval '11 minutes'
   AND NOT entry."isMisdated"
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("gamification", "0031_point_transaction_misdated_triggers")]
    operations = [zero_downtime.UpdateInBatches(model_name="council.member", sql=MARK, batch_rows=500)]
