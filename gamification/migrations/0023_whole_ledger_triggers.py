"""Triggers: trg_update_member_points, trg_point_transaction_append_only, trg_point_transaction_limits and
trg_point_transaction_with_its_member.

Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing waits.
Safe with the code before it: yes, unless it writes what they refuse.
Way back: puts back what was there before (ACCESS EXCLUSIVE for an instant where a trigger goes).
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
                  ELSE 1 END
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

POINT_TRANSACTION_APPEND_ONLY = """\
BEGIN
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
  IF NOT EXISTS (SELECT FROM new_rows) THEN
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
        ("council", "0013_sign_in_failures_failed_at"),
        ("gamification", "0022_replace_function_next_weekday"),
    ]
    operations = [
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_update_member_points",
                sql=triggers.TriggerSqlV1(
                    body=UPDATE_MEMBER_POINTS,
                    function="update_member_total_points",
                    hash="19030795f5f45269ed61d3832fc33f91fabd69d7",
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
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_point_transaction_append_only",
                sql=triggers.TriggerSqlV1(
                    body=POINT_TRANSACTION_APPEND_ONLY,
                    function="refuse_point_transaction_change",
                    hash="6e3ebca1c26cf843517ace087d1a5e9df12e95b0",
                    level="ROW",
                    name="trg_point_transaction_append_only",
                    operation="DELETE OR UPDATE",
                    settings={"search_path": ""},
                    table="PointTransaction",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_point_transaction_limits",
                sql=triggers.TriggerSqlV1(
                    body=POINT_TRANSACTION_LIMITS,
                    function="check_point_transaction_limits",
                    hash="8c5d8bc10fb27949fa0922005dee143dd47dd503",
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
        zero_downtime.AddTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_point_transaction_with_its_member",
                sql=triggers.TriggerSqlV1(
                    body=POINT_TRANSACTION_WITH_ITS_MEMBER,
                    function="check_point_transaction_member_change",
                    hash="364cea7c559d2f1b63557b105e096cdc5eb24829",
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
