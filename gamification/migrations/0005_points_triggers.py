"""Member's totals follow the ledger, and the ledger is append-only.

The gateway's row-level trigger of the same name, where it is there already, becomes ours in place.
Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing to it waits.
Safe with the code before it: yes, unless it changes or removes ledger rows, which is refused from now on.
Way back: drops the triggers (ACCESS EXCLUSIVE for an instant); totals stand still from then on.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

UPDATE_MEMBER_POINTS = """\
DECLARE
  added record;
BEGIN
  FOR added IN
    SELECT "memberId" AS member_id,
           sum(points) AS points,
           max(CASE "createdAt"
                 WHEN CURRENT_TIMESTAMP::timestamp(3) THEN CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
                 ELSE "createdAt"
               END) FILTER (WHERE points > 0 AND action <> 'admin_adjustment') AS last_active_at
      FROM new_rows
     GROUP BY "memberId"
     ORDER BY "memberId"
  LOOP
    UPDATE @extschema@."Member" AS member
       SET "totalPoints" = member."totalPoints" + added.points,
           "lastActiveAt" = greatest(member."lastActiveAt", added.last_active_at)
     WHERE member.id = added.member_id;
  END LOOP;
  RETURN NULL;
END"""

APPEND_ONLY = """\
BEGIN
  IF NOT EXISTS (SELECT FROM @extschema@."Member" AS member WHERE member.id = OLD."memberId") THEN
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

NO_TRUNCATE = """\
BEGIN
  RAISE EXCEPTION 'The points ledger is append-only: TRUNCATE refused.'
    USING ERRCODE = 'restrict_violation',
          HINT = 'To empty a throw-away database, drop it.';
END"""


class Migration(migrations.Migration):
    dependencies = [("gamification", "0004_indexes")]
    operations = [
        zero_downtime.AddTrigger(
            model_name="pointtransaction",
            trigger=triggers.CompiledTrigger(
                name="trg_update_member_points",
                sql=triggers.TriggerSqlV1(
                    body=UPDATE_MEMBER_POINTS,
                    function="update_member_total_points",
                    hash="9443ba5effc7ad400908c17d3937785a1334ff44",
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
                name="trg_point_transaction_append_only",
                sql=triggers.TriggerSqlV1(
                    body=APPEND_ONLY,
                    function="refuse_point_transaction_change",
                    hash="df96b90d596610314c55bebfd2c24b42ff3e5144",
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
                name="trg_point_transaction_no_truncate",
                sql=triggers.TriggerSqlV1(
                    body=NO_TRUNCATE,
                    function="refuse_point_transaction_truncate",
                    hash="4f8da7b726bb0df2c8ff8230526fa54c47950493",
                    level="STATEMENT",
                    name="trg_point_transaction_no_truncate",
                    operation="TRUNCATE",
                    settings={"search_path": ""},
                    table="PointTransaction",
                    when="BEFORE",
                ),
            ),
        ),
    ]
