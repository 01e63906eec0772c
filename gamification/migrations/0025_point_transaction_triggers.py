"""The gateway's rows get the keys of what they pay for; `updatedAt` moves when a member's points do.

Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing waits.
Safe with the code before it: yes, it reads no key of the gateway's rows. Way back: puts back the triggers before
these (ACCESS EXCLUSIVE for an instant where one goes); keys that were given stay.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

UPDATE_MEMBER_POINTS = """\
DECLARE
  added record;
  fills_gap boolean;
BEGIN
  FOR added IN
    SELECT member_id,
           date_trunc('month', max(newest))::date AS month,
           sum(points) AS points,
           sum(points) FILTER (WHERE created_at >= date_trunc('month', newest)) AS month_points,
           min(active_at)::date AS first_day,
           max(active_at) AS last_active_at
      FROM (SELECT "memberId" AS member_id,
                   "createdAt" AS created_at,
                   max("createdAt") OVER (PARTITION BY "memberId") AS newest,
                   points,
                   CASE WHEN points > 0 AND action <> 'admin_adjustment' AND "reversesId" IS NULL
                        THEN "createdAt" END AS active_at
              FROM new_rows) AS entries
     GROUP BY member_id
     ORDER BY member_id
  LOOP
    UPDATE @extschema@."Member" AS member
       SET "totalPoints" = member."totalPoints" + added.points,
           "pointsMonth" = greatest(member."pointsMonth", added.month),
           "monthPoints" = CASE WHEN added.month < member."pointsMonth" THEN member."monthPoints"
                                WHEN added.month = member."pointsMonth"
                                THEN member."monthPoints" + added.month_points
                                ELSE added.month_points END,
           "lastActiveAt" = greatest(member."lastActiveAt", added.last_active_at),
           "currentStreak" =
             CASE WHEN added.first_day IS NULL OR added.first_day <= member."lastActiveAt"::date
                  THEN member."currentStreak"
                  WHEN added.first_day <= @extschema@.next_weekday(member."lastActiveAt"::date)
                  THEN member."currentStreak" + 1
                  ELSE 1 END,
           "updatedAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
     WHERE member.id = added.member_id
    RETURNING added.first_day < member."lastActiveAt"::date INTO fills_gap;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'The points of member % cannot be added up: the row is not to be changed by %.',
        added.member_id, current_user
        USING ERRCODE = 'insufficient_privilege',
              HINT = 'Row level security or a trigger on "Member" is in the way.';
    END IF;
    IF fills_gap THEN
      UPDATE @extschema@."Member" AS member
         SET "currentStreak" = ledger.streak,
             "lastActiveAt" = ledger.last_active_at
        FROM @extschema@.points_by_ledger(ARRAY[added.member_id]) AS ledger
       WHERE member.id = added.member_id;
    END IF;
  END LOOP;
  RETURN NULL;
END"""

UPDATE_POINT_TRANSACTION_KEYS = """\
DECLARE
  paid record;
BEGIN
  FOR paid IN
    SELECT DISTINCT ON (key) id, key
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
     ORDER BY key, created_at, id
  LOOP
    BEGIN
      UPDATE @extschema@."PointTransaction" AS entry
         SET "idempotencyKey" = paid.key
       WHERE entry.id = paid.id;
    EXCEPTION WHEN unique_violation OR lock_not_available THEN
      NULL;
    END;
  END LOOP;
  RETURN NULL;
END"""

POINT_TRANSACTION_APPEND_ONLY = """\
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF OLD."idempotencyKey" IS NULL
       AND NEW."idempotencyKey" = @extschema@.point_transaction_key(OLD.action, OLD."memberId", OLD.metadata)
       AND to_jsonb(NEW) - 'idempotencyKey' = to_jsonb(OLD) - 'idempotencyKey' THEN
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

POINT_TRANSACTION_WITH_ITS_MEMBER = """\
BEGIN
  -- A key alone: each row was looked at before it was changed.
  IF NOT EXISTS (
    SELECT FROM new_rows
      FULL JOIN old_rows USING (id)
     WHERE to_jsonb(new_rows) - 'idempotencyKey' IS DISTINCT FROM to_jsonb(old_rows) - 'idempotencyKey'
  ) THEN
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
    dependencies = [("council", "0015_figure_table"), ("gamification", "0024_point_transaction_key")]
    operations = [
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_update_member_points",
                sql=triggers.TriggerSqlV1(
                    body=UPDATE_MEMBER_POINTS,
                    function="update_member_total_points",
                    hash="284139ed351941f8b6b4f96ef49f53f618050390",
                    level="STATEMENT",
                    name="trg_update_member_points",
                    operation="INSERT",
                    referencing="REFERENCING NEW TABLE AS new_rows",
                    settings={"enable_seqscan": "off", "jit": "off", "search_path": ""},
                    table="PointTransaction",
                    when="AFTER",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_update_point_transaction_keys",
                sql=triggers.TriggerSqlV1(
                    body=UPDATE_POINT_TRANSACTION_KEYS,
                    function="update_point_transaction_keys",
                    hash="cfc3e308d2979ad7894ff8813cc8b1a5b2548c99",
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
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_point_transaction_append_only",
                sql=triggers.TriggerSqlV1(
                    body=POINT_TRANSACTION_APPEND_ONLY,
                    function="refuse_point_transaction_change",
                    hash="88c2d632040c12570b7409a5e82176d9b414f8fc",
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
                name="trg_point_transaction_with_its_member",
                sql=triggers.TriggerSqlV1(
                    body=POINT_TRANSACTION_WITH_ITS_MEMBER,
                    function="check_point_transaction_member_change",
                    hash="986b9fc4ffd62405436749b3c71c16b641d6a263",
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
