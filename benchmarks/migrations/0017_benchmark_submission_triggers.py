"""Write the types in the trigger that records answers with their schema: a session's temporary types came first.

Locks: SHARE ROW EXCLUSIVE on BenchmarkSubmission, for an instant; writing waits.
Safe with the code before it: yes.
Way back: puts back what was there before (ACCESS EXCLUSIVE for an instant where a trigger goes).
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

BENCHMARK_SUBMISSION_VERSION = """\
DECLARE
  member_id pg_catalog.text;
  answered @extschema@."BenchmarkCategory";
  answers pg_catalog.jsonb;
  moved boolean := TG_OP = 'UPDATE'
                   AND (OLD."memberId", OLD.category) IS DISTINCT FROM (NEW."memberId", NEW.category);
BEGIN
  IF moved AND OLD.category = NEW.category
     AND NOT EXISTS (SELECT FROM @extschema@."Member" AS member WHERE member.id = OLD."memberId") THEN
    moved := false;
  END IF;
  FOR member_id, answered, answers IN
    SELECT OLD."memberId", OLD.category, NULL::pg_catalog.jsonb WHERE TG_OP = 'DELETE' OR moved
    UNION ALL
    SELECT NEW."memberId", NEW.category, @extschema@.benchmark_answers(NEW.data)
     WHERE TG_OP = 'INSERT' OR moved
        OR (TG_OP = 'UPDATE'
            AND NEW.data IS DISTINCT FROM OLD.data
            AND @extschema@.benchmark_answers(NEW.data) - 'version'
                IS DISTINCT FROM @extschema@.benchmark_answers(OLD.data) - 'version')
  LOOP
    INSERT INTO @extschema@."BenchmarkVersion"
           ("memberId", category, number, data, "isWithdrawn", "companyKey", "recordedAt")
    SELECT member.id,
           answered,
           1 + coalesce((SELECT max(version.number)
                           FROM @extschema@."BenchmarkVersion" AS version
                          WHERE version."memberId" = member.id AND version.category = answered), 0),
           coalesce(answers, '{}'),
           answers IS NULL,
           coalesce('team:' || member."teamId", 'customer:' || member."stripeCustomerId",
                    'member:' || member.id),
           clock_timestamp() AT TIME ZONE 'UTC'
      FROM @extschema@."Member" AS member
     WHERE member.id = member_id;
  END LOOP;
  RETURN NULL;
END"""


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0016_release_triggers"), ("council", "0015_figure_table")]
    operations = [
        zero_downtime.ReplaceTrigger(
            model_name="benchmarksubmission",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_submission_version",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_SUBMISSION_VERSION,
                    function="record_benchmark_version",
                    hash="ebe0a84df8c82839d3290044be979379afa22beb",
                    level="ROW",
                    name="trg_benchmark_submission_version",
                    operation="INSERT OR DELETE OR UPDATE",
                    settings={"search_path": ""},
                    table="BenchmarkSubmission",
                    when="AFTER",
                ),
            ),
        ),
    ]
