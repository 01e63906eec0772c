"""The ledger keeps this month's points and the streak as well, whatever the session's zone, and checks reversals.

Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing to it waits.
Safe with the code before it: yes. Way back: puts the former trigger back; month and streak stand still from then on.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

UPDATE_MEMBER_POINTS = """\
DECLARE
  added record;
  newest_day date;
BEGIN
  FOR added IN
    SELECT member_id,
           newest AS month,
           sum(points) AS points,
           sum(points) FILTER (WHERE month = newest) AS month_points,
           min(active_at)::date AS first_day,
           max(active_at) AS last_active_at
      FROM (SELECT "memberId" AS member_id,
                   date_trunc('month', "createdAt")::date AS month,
                   date_trunc('month', max("createdAt") OVER (PARTITION BY "memberId"))::date AS newest,
                   points,
                   CASE WHEN points > 0 AND action <> 'admin_adjustment' AND "reversesId" IS NULL
                        THEN "createdAt" END AS active_at
              FROM new_rows) AS entries
     GROUP BY member_id, newest
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
    RETURNING member."lastActiveAt" INTO newest_day;
    IF added.first_day < newest_day THEN
      UPDATE @extschema@."Member" AS member
         SET "currentStreak" = ledger.streak,
             "lastActiveAt" = ledger.last_active_at
        FROM @extschema@.points_by_ledger(ARRAY[added.member_id]) AS ledger
       WHERE member.id = added.member_id;
    END IF;
  END LOOP;
  RETURN NULL;
END"""

IN_UTC = """\
BEGIN
  NEW."createdAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC';
  RETURN NEW;
END"""
IN_UTC_CONDITION = """WHEN (NEW."createdAt" = LOCALTIMESTAMP::timestamp(3) AND LOCALTIMESTAMP <> CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"""

REVERSAL = """\
BEGIN
  IF NOT EXISTS (
    SELECT FROM @extschema@."PointTransaction" AS reversed
     WHERE reversed.id = NEW."reversesId"
       AND reversed."memberId" = NEW."memberId"
       AND reversed.points::bigint + NEW.points = 0
       AND reversed."reversesId" IS NULL
  ) THEN
    RAISE EXCEPTION 'Row % cannot reverse row %.', NEW.id, NEW."reversesId"
      USING ERRCODE = 'restrict_violation',
            HINT = 'A reversal has the same member and the opposite points, and is not reversed itself.';
  END IF;
  RETURN NULL;
END"""
REVERSAL_CONDITION = """WHEN (NEW."reversesId" IS NOT NULL)"""


class Migration(migrations.Migration):
    dependencies = [("council", "0008_member_leaderboard_indexes"), ("gamification", "0011_points_by_ledger")]
    operations = [
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_update_member_points",
                sql=triggers.TriggerSqlV1(
                    body=UPDATE_MEMBER_POINTS,
                    function="update_member_total_points",
                    hash="c7d1c04c862f2f689a524e796fa6be401f59c1f1",
                    level="STATEMENT",
                    name="trg_update_member_points",
                    operation="INSERT",
                    referencing="REFERENCING NEW TABLE AS new_rows",
                    settings={"enable_seqscan": "off", "search_path": ""},
                    table="PointTransaction",
                    when="AFTER",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_point_transaction_in_utc",
                sql=triggers.TriggerSqlV2(
                    body=IN_UTC,
                    condition=IN_UTC_CONDITION,
                    function="put_point_transaction_in_utc",
                    hash="e51cf7ac48bdb85b0b41acde891cfa4ff8626213",
                    level="ROW",
                    name="trg_point_transaction_in_utc",
                    operation="INSERT",
                    settings={"search_path": ""},
                    table="PointTransaction",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_point_transaction_reversal",
                sql=triggers.TriggerSqlV2(
                    body=REVERSAL,
                    condition=REVERSAL_CONDITION,
                    function="check_point_transaction_reversal",
                    hash="7fe119f5bc590144250f2685e14f31d05e365849",
                    level="ROW",
                    name="trg_point_transaction_reversal",
                    operation="INSERT",
                    settings={"search_path": ""},
                    table="PointTransaction",
                    when="AFTER",
                ),
            ),
        ),
    ]
