"""The database pays for an introduction when a member is noted to have written one.

Locks: SHARE ROW EXCLUSIVE on Member, for an instant; writing to it waits.
Safe with the code before it: yes, it refuses nothing. Way back: drops the trigger (ACCESS EXCLUSIVE for an instant).
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

MEMBER_INTRODUCTION = """\
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF OLD."introCompleted" THEN
      RETURN NULL;
    END IF;
  END IF;
  BEGIN
    INSERT INTO @extschema@."PointTransaction" (id, "memberId", action, points, "idempotencyKey")
    SELECT 'c' || left(replace(gen_random_uuid()::text, '-', ''), 24),
           NEW.id,
           rule.action,
           rule.points,
           'intro_completed:' || NEW.id
      FROM @extschema@."PointRule" AS rule
     WHERE rule.action = 'intro_completed'
       AND rule.enabled
       AND rule.points > 0
       AND NOT EXISTS (
             SELECT
               FROM @extschema@."PointTransaction" AS paid
              WHERE paid."memberId" = NEW.id
                AND paid.action = 'intro_completed'
           )
        ON CONFLICT ("idempotencyKey") WHERE "idempotencyKey" IS NOT NULL DO NOTHING;
  EXCEPTION WHEN numeric_value_out_of_range THEN
    RAISE WARNING 'The introduction of member % was not paid: the total would leave its range.', NEW.id;
  END;
  RETURN NULL;
END"""


class Migration(migrations.Migration):
    dependencies = [("council", "0012_job_run_indexes"), ("gamification", "0018_introduction")]
    operations = [
        zero_downtime.AddTrigger(
            model_name="introduction",
            trigger=triggers.CompiledTrigger(
                name="trg_member_introduction",
                sql=triggers.TriggerSqlV2(
                    body=MEMBER_INTRODUCTION,
                    condition='WHEN (NEW."introCompleted")',
                    function="pay_member_introduction",
                    hash="bba1849b87e6be2e7e4ef1fce465b42439c414f2",
                    level="ROW",
                    name="trg_member_introduction",
                    operation='INSERT OR UPDATE OF "introCompleted"',
                    settings={"search_path": ""},
                    table="Member",
                    when="AFTER",
                ),
            ),
        ),
    ]
