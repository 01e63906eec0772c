"""Many rows of the gateway's in one statement get their keys at once, not one by one.

Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing waits.
Safe with the code before it: yes, the same keys come out. Way back: puts the former trigger back.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

UPDATE_POINT_TRANSACTION_KEYS = """\
DECLARE
  ids text[];
  keys text[];
BEGIN
  SELECT array_agg(id ORDER BY key), array_agg(key ORDER BY key) INTO ids, keys
    FROM (SELECT DISTINCT ON (key) id, key
            FROM (SELECT id,
                         "createdAt" AS created_at,
                         @extschema@.point_transaction_key(action, "memberId", metadata) AS key
                    FROM new_rows
                   WHERE "idempotencyKey" IS NULL
                     AND "reversesId" IS NULL
                     AND points > 0
                     AND action IN ('intro_completed', 'benchmark_submission', 'resource_download')) AS entries
           WHERE key IS NOT NULL
             AND NOT EXISTS (SELECT FROM @extschema@."PointTransaction" AS other
                              WHERE other."idempotencyKey" = entries.key)
           ORDER BY key, created_at, id) AS paid;
  IF ids IS NULL THEN
    RETURN NULL;
  END IF;
  BEGIN
    UPDATE @extschema@."PointTransaction" AS entry
       SET "idempotencyKey" = paid.key
      FROM unnest(ids, keys) AS paid (id, key)
     WHERE entry.id = paid.id;
    RETURN NULL;
  EXCEPTION WHEN unique_violation OR lock_not_available THEN
    IF cardinality(ids) = 1 THEN
      RETURN NULL;
    END IF;
  END;
  FOR place IN 1 .. cardinality(ids) LOOP
    BEGIN
      UPDATE @extschema@."PointTransaction" AS entry
         SET "idempotencyKey" = keys[place]
       WHERE entry.id = ids[place];
    EXCEPTION WHEN unique_violation OR lock_not_available THEN
      NULL;
    END;
  END LOOP;
  RETURN NULL;
END"""


class Migration(migrations.Migration):
    dependencies = [("council", "0015_figure_table"), ("gamification", "0027_fill_keys")]
    operations = [
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_update_point_transaction_keys",
                sql=triggers.TriggerSqlV1(
                    body=UPDATE_POINT_TRANSACTION_KEYS,
                    function="update_point_transaction_keys",
                    hash="fdbfbe70dc8e7d37368f233b65bb5a798ed32692",
                    level="STATEMENT",
                    name="trg_update_point_transaction_keys",
                    operation="INSERT",
                    referencing="REFERENCING NEW TABLE AS new_rows",
                    settings={
                        "enable_seqscan": "off",
                        "jit": "off",
                        "lock_timeout": "50ms",
                        "search_path": "",
                    },
                    table="PointTransaction",
                    when="AFTER",
                ),
            ),
        ),
    ]
