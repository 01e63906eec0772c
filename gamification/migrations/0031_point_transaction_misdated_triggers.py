"""Triggers: trg_point_transaction_append_only, trg_point_transaction_limits and
trg_point_transaction_with_its_member.

Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing waits.
Safe with the code before it: yes, unless it writes what they refuse.
Way back: puts back what was there before (ACCESS EXCLUSIVE for an instant where a trigger goes).
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

POINT_TRANSACTION_APPEND_ONLY = """\
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF OLD."idempotencyKey" IS NULL
       AND NEW."idempotencyKey" = @extschema@.point_transaction_key(OLD.action, OLD."memberId", OLD.metadata)
       AND to_jsonb(NEW) - 'idempotencyKey' = to_jsonb(OLD) - 'idempotencyKey' THEN
      RETURN NEW;
    ELSIF NEW."isMisdated" AND NOT OLD."isMisdated"
       AND OLD."createdAt" > clock_timestamp() AT TIME ZONE 'UTC' + interval '10 minutes'
       AND to_jsonb(NEW) - 'isMisdated' = to_jsonb(OLD) - 'isMisdated' THEN
      RETURN NEW;
    END IF;
  END IF;
  IF pg_trigger_depth() > 1
     AND NOT EXISTS (SELECT FROM @extschema@."Member" AS member WHERE member.id = OLD."memberId") THEN
    IF TG_OP = 'DELETE' THEN
      RETURN OLD;
    ELSIF to_jsonb(NEW) - 'memberId' = to_jsonb(OLD) - 'memberId' THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'The points ledger is append-only: % of row % refused.', TG_OP, OLD.id
    USING ERRCODE = 'restrict_violation',
          HINT = 'Add a row that reverses it.';
END"""

POINT_TRANSACTION_LIMITS = """\
DECLARE
  refused record;
BEGIN
  SELECT id, fault INTO refused
    FROM (SELECT id,
                 CASE WHEN "createdAt" > clock_timestamp() AT TIME ZONE 'UTC' + interval '10 minutes'
                      THEN 'is dated in the future, ' || "createdAt"
                      WHEN "createdAt" < timestamp '0001-01-01'
                      THEN 'is dated before the year 1, ' || "createdAt"
                      WHEN "isMisdated" THEN 'is marked as one that was dated in the future'
                      WHEN length(id) > 200 THEN 'has an id of more than 200 characters'
                      WHEN length(action) > 200 THEN 'has an action of more than 200 characters'
                      WHEN pg_column_size(metadata) > 100 AND octet_length(metadata::text) > 16384
                      THEN 'has metadata of more than 16,384 bytes'
                      WHEN pg_column_size(metadata) > 100 AND jsonb_path_exists(metadata, '$.**{17}')
                      THEN 'has metadata of more than 16 levels' END AS fault
            FROM new_rows) AS rows
   WHERE fault IS NOT NULL
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'The points ledger takes no such row: row % %.', left(refused.id, 60), refused.fault
      USING ERRCODE = 'check_violation',
            HINT = 'Give it a date in UTC that is not in the future, and less metadata.';
  END IF;
  RETURN NULL;
END"""

POINT_TRANSACTION_WITH_ITS_MEMBER = """\
BEGIN
  -- A key or a mark alone. They are looked at again: another trigger may have changed them on their way.
  IF NOT EXISTS (
    SELECT FROM new_rows
      FULL JOIN old_rows USING (id)
     WHERE to_jsonb(new_rows) - ARRAY['idempotencyKey', 'isMisdated']
           IS DISTINCT FROM to_jsonb(old_rows) - ARRAY['idempotencyKey', 'isMisdated']
        OR (new_rows."idempotencyKey" IS DISTINCT FROM old_rows."idempotencyKey"
            AND (old_rows."idempotencyKey" IS NOT NULL
                 OR new_rows."idempotencyKey" IS DISTINCT FROM @extschema@.point_transaction_key(
                      new_rows.action, new_rows."memberId", new_rows.metadata)))
        OR (new_rows."isMisdated" <> old_rows."isMisdated"
            AND (old_rows."isMisdated"
                 OR new_rows."createdAt" <= CURRENT_TIMESTAMP AT TIME ZONE 'UTC' + interval '10 minutes'))
  ) THEN
    IF EXISTS (
      SELECT FROM new_rows
        JOIN old_rows USING (id)
       WHERE new_rows."isMisdated" <> old_rows."isMisdated"
    ) THEN
      PERFORM FROM @extschema@."Member" AS member
        WHERE member.id IN (SELECT "memberId" FROM new_rows)
        ORDER BY member.id
          FOR NO KEY UPDATE;
      UPDATE @extschema@."Member" AS member
         SET "totalPoints" = ledger.total_points,
             "pointsMonth" = ledger.points_month,
             "monthPoints" = ledger.month_points,
             "lastActiveAt" = ledger.last_active_at,
             "currentStreak" = ledger.streak,
             "updatedAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
        FROM @extschema@.points_by_ledger(ARRAY(SELECT "memberId" FROM new_rows)) AS ledger
       WHERE member.id = ledger.member_id;
    END IF;
    RETURN NULL;
  END IF;
  IF EXISTS (
    SELECT FROM new_rows
      FULL JOIN old_rows USING (id)
     WHERE to_jsonb(new_rows) - 'memberId' IS DISTINCT FROM to_jsonb(old_rows) - 'memberId'
  ) OR EXISTS (
    SELECT FROM @extschema@."PointTransaction" AS entry
     WHERE entry."memberId" IN (SELECT "memberId" FROM new_rows)
       AND entry.id NOT IN (SELECT id FROM new_rows)
  ) OR EXISTS (
    SELECT FROM (SELECT DISTINCT "memberId" AS id FROM new_rows) AS moved
      LEFT JOIN @extschema@."Member" AS member ON member.id = moved.id
      LEFT JOIN @extschema@.points_by_ledger(ARRAY(SELECT "memberId" FROM new_rows)) AS ledger
             ON ledger.member_id = moved.id
     WHERE (member."totalPoints", member."pointsMonth", member."monthPoints",
            member."lastActiveAt", member."currentStreak")
           IS DISTINCT FROM
           (ledger.total_points, ledger.points_month, ledger.month_points,
            ledger.last_active_at, ledger.streak)
  ) THEN
    RAISE EXCEPTION 'The points ledger is append-only: rows of a member were to become those of another.'
      USING ERRCODE = 'restrict_violation',
            HINT = 'A member may get another id. Are the figures right? See manage.py reconcile_points.';
  END IF;
  RETURN NULL;
END"""


class Migration(migrations.Migration):
    dependencies = [
        ("council", "0015_figure_table"),
        ("gamification", "0030_replace_function_points_by_ledger"),
    ]
    operations = [
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_point_transaction_append_only",
                sql=triggers.TriggerSqlV1(
                    body=POINT_TRANSACTION_APPEND_ONLY,
                    function="refuse_point_transaction_change",
                    hash="b46d23fb6ff8ee04300e3bad064535d48b6978bf",
                    level="ROW",
                    name="trg_point_transaction_append_only",
                    operation="DELETE OR UPDATE",
                    settings={"search_path": ""},
                    table="PointTransaction",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_point_transaction_limits",
                sql=triggers.TriggerSqlV1(
                    body=POINT_TRANSACTION_LIMITS,
                    function="check_point_transaction_limits",
                    hash="6aa22db48cd93c6f1ba144bc605c8ddf5ebe96f6",
                    level="STATEMENT",
                    name="trg_point_transaction_limits",
                    operation="INSERT",
                    referencing="REFERENCING NEW TABLE AS new_rows",
                    settings={"search_path": ""},
                    table="PointTransaction",
                    when="AFTER",
                ),
            ),
        ),
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_point_transaction_with_its_member",
                sql=triggers.TriggerSqlV1(
                    body=POINT_TRANSACTION_WITH_ITS_MEMBER,
                    function="check_point_transaction_member_change",
                    hash="c7cba9f52d63fc9fda8d12f122798ec89c3b6a93",
                    level="STATEMENT",
                    name="trg_point_transaction_with_its_member",
                    operation="UPDATE",
                    referencing="REFERENCING OLD TABLE AS old_rows  NEW TABLE AS new_rows",
                    settings={"search_path": ""},
                    table="PointTransaction",
                    when="AFTER",
                ),
            ),
        ),
    ]
