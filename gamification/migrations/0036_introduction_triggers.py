"""Write the types in the trigger that pays introductions with their schema, as in 0035.

Locks: SHARE ROW EXCLUSIVE on Member, for an instant; writing waits.
Safe with the code before it: yes.
Way back: puts back what was there before (ACCESS EXCLUSIVE for an instant where a trigger goes).
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
    SELECT 'c' || left(replace(gen_random_uuid()::pg_catalog.text, '-', ''), 24),
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
    dependencies = [("gamification", "0035_point_transaction_triggers")]
    operations = [
        zero_downtime.ReplaceTrigger(
            model_name="introduction",
            trigger=triggers.CompiledTrigger(
                name="trg_member_introduction",
                sql=triggers.TriggerSqlV2(
                    body=MEMBER_INTRODUCTION,
                    condition='WHEN (NEW."introCompleted")',
                    function="pay_member_introduction",
                    hash="4e9a00a74a83b87033fef31be8ac0924d4b6dbac",
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
