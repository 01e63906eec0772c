"""Write the types in the ledger's triggers with their schema: a session's temporary types came first.

Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing waits.
Safe with the code before it: yes.
Way back: puts back what was there before (ACCESS EXCLUSIVE for an instant where a trigger goes).
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

UPDATE_MEMBER_POINTS = """\
DECLARE
  added pg_catalog.record;
  fills_gap boolean;
BEGIN
  FOR added IN
    SELECT member_id,
           date_trunc('month', max(newest))::pg_catalog.date AS month,
           sum(points) AS points,
           sum(points) FILTER (WHERE created_at >= date_trunc('month', newest)) AS month_points,
           min(active_at)::pg_catalog.date AS first_day,
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
             CASE WHEN added.first_day IS NULL OR added.first_day <= member."lastActiveAt"::pg_catalog.date
                  THEN member."currentStreak"
                  WHEN added.first_day <= @extschema@.next_weekday(member."lastActiveAt"::pg_catalog.date)
                  THEN member."currentStreak" + 1
                  ELSE 1 END,
           "updatedAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
     WHERE member.id = added.member_id
    RETURNING added.first_day < member."lastActiveAt"::pg_catalog.date INTO fills_gap;
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
  ids pg_catalog.text[];
  keys pg_catalog.text[];
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

POINT_TRANSACTION_LIMITS = """\
DECLARE
  refused pg_catalog.record;
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
                      WHEN pg_column_size(metadata) > 100 AND octet_length(metadata::pg_catalog.text) > 16384
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


class Migration(migrations.Migration):
    dependencies = [
        ("council", "0015_figure_table"),
        ("gamification", "0034_replace_function_points_by_ledger"),
    ]
    operations = [
        zero_downtime.ReplaceTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_update_member_points",
                sql=triggers.TriggerSqlV1(
                    body=UPDATE_MEMBER_POINTS,
                    function="update_member_total_points",
                    hash="f042e4abe05f263a257a9062701af706ae5348a4",
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
                name="trg_update_point_transaction_keys",
                sql=triggers.TriggerSqlV1(
                    body=UPDATE_POINT_TRANSACTION_KEYS,
                    function="update_point_transaction_keys",
                    hash="24cfd83f6d97ce9175944f00d08879d86aedebab",
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
                name="trg_point_transaction_limits",
                sql=triggers.TriggerSqlV1(
                    body=POINT_TRANSACTION_LIMITS,
                    function="check_point_transaction_limits",
                    hash="43d78dbb8dd149d26c07dd28a7c2f492dd0d6faa",
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
    ]
