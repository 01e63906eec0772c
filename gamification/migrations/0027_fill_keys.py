"""Keys for what the gateway paid without one, so that it is not paid again.

The first row of each key gets it; a second one stays without.
Locks: the rows of some members at a time, for about 10 ms, and none that somebody else has locked; rows of the ledger
are added behind the same lock.
Safe with the code before it: yes. Way back: nothing to do.
"""

from django.db import migrations

from council import zero_downtime

FILL = """
UPDATE "PointTransaction" AS entry
   SET "idempotencyKey" = paid.key
  FROM (SELECT DISTINCT ON (key) id, key
          FROM (SELECT unpaid.id,
                       unpaid."createdAt" AS created_at,
                       point_transaction_key(unpaid.action, unpaid."memberId", unpaid.metadata) AS key
                  FROM (SELECT DISTINCT unnest(%(keys)s::text[]) AS id) AS members
                  JOIN "PointTransaction" AS unpaid ON unpaid."memberId" = members.id
                 WHERE unpaid."idempotencyKey" IS NULL
                   AND unpaid."reversesId" IS NULL
                   AND unpaid.points > 0) AS entries
         WHERE key IS NOT NULL
         ORDER BY key, created_at, id) AS paid
 WHERE entry.id = paid.id
   AND NOT EXISTS (SELECT FROM "PointTransaction" AS other WHERE other."idempotencyKey" = paid.key)
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("gamification", "0026_fill_from_ledger")]
    operations = [zero_downtime.UpdateInBatches(model_name="council.member", sql=FILL, batch_rows=500)]
