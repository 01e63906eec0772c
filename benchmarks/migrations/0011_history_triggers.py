"""Every change of a submission gets a version, whoever writes it; versions and reviews stay as they are.

Locks: SHARE ROW EXCLUSIVE on BenchmarkSubmission, BenchmarkVersion and BenchmarkReview, for an instant;
writing waits.
Safe with the code before it: yes, unless it writes what they refuse.
Way back: puts back what was there before (ACCESS EXCLUSIVE for an instant where a trigger goes).
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

BENCHMARK_SUBMISSION_VERSION = """\
DECLARE
  member_id text;
  answered @extschema@."BenchmarkCategory";
  answers jsonb;
  moved boolean := TG_OP = 'UPDATE'
                   AND (OLD."memberId", OLD.category) IS DISTINCT FROM (NEW."memberId", NEW.category);
BEGIN
  IF moved AND OLD.category = NEW.category
     AND NOT EXISTS (SELECT FROM @extschema@."Member" AS member WHERE member.id = OLD."memberId") THEN
    moved := false;
  END IF;
  FOR member_id, answered, answers IN
    SELECT OLD."memberId", OLD.category, NULL::jsonb WHERE TG_OP = 'DELETE' OR moved
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

BENCHMARK_SUBMISSION_NO_TRUNCATE = """\
BEGIN
  RAISE EXCEPTION 'Every change of benchmark answers is recorded: TRUNCATE refused.'
    USING ERRCODE = 'restrict_violation',
          HINT = 'To empty a throw-away database, drop it.';
END"""

BENCHMARK_VERSION_APPEND_ONLY = """\
BEGIN
  IF NOT EXISTS (SELECT FROM @extschema@."Member" AS member WHERE member.id = OLD."memberId") THEN
    IF TG_OP = 'DELETE' THEN
      RETURN OLD;
    ELSIF to_jsonb(NEW) - 'memberId' = to_jsonb(OLD) - 'memberId' THEN
      IF OLD."companyKey" = 'member:' || OLD."memberId" THEN
        NEW."companyKey" = 'member:' || NEW."memberId";
      END IF;
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'The history of benchmarks is append-only: % of row % refused.', TG_OP, OLD.id
    USING ERRCODE = 'restrict_violation',
          HINT = 'Change "BenchmarkSubmission": the history gets a row by itself.';
END"""

BENCHMARK_VERSION_NO_TRUNCATE = """\
BEGIN
  RAISE EXCEPTION 'The history of benchmarks is append-only: TRUNCATE refused.'
    USING ERRCODE = 'restrict_violation',
          HINT = 'To empty a throw-away database, drop it.';
END"""

BENCHMARK_REVIEW_APPEND_ONLY = """\
BEGIN
  IF TG_OP = 'DELETE' AND NOT EXISTS (
    SELECT FROM @extschema@."BenchmarkVersion" AS version WHERE version.id = OLD."versionId"
  ) THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'The reviews of benchmarks are append-only: % of row % refused.', TG_OP, OLD.id
    USING ERRCODE = 'restrict_violation',
          HINT = 'Add a review: the newest of a version is in force.';
END"""

BENCHMARK_REVIEW_NO_TRUNCATE = """\
BEGIN
  RAISE EXCEPTION 'The reviews of benchmarks are append-only: TRUNCATE refused.'
    USING ERRCODE = 'restrict_violation',
          HINT = 'To empty a throw-away database, drop it.';
END"""


class Migration(migrations.Migration):
    dependencies = [
        ("benchmarks", "0010_benchmark_answers"),
        ("council", "0010_sign_in_failures"),
    ]
    operations = [
        zero_downtime.AddTrigger(
            model_name="benchmarksubmission",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_submission_version",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_SUBMISSION_VERSION,
                    function="record_benchmark_version",
                    hash="afcfbcbab7ebee0e5a967afe49b9ac26f2eb5be1",
                    level="ROW",
                    name="trg_benchmark_submission_version",
                    operation="INSERT OR DELETE OR UPDATE",
                    settings={"search_path": ""},
                    table="BenchmarkSubmission",
                    when="AFTER",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="benchmarksubmission",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_submission_no_truncate",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_SUBMISSION_NO_TRUNCATE,
                    function="refuse_benchmark_submission_truncate",
                    hash="c20ad572f2454525b28ac233a23baf85994d8b01",
                    level="STATEMENT",
                    name="trg_benchmark_submission_no_truncate",
                    operation="TRUNCATE",
                    settings={"search_path": ""},
                    table="BenchmarkSubmission",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="benchmarkversion",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_version_append_only",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_VERSION_APPEND_ONLY,
                    function="refuse_benchmark_version_change",
                    hash="a47afe6f7590677731bad4c67dea41574a4da8f2",
                    level="ROW",
                    name="trg_benchmark_version_append_only",
                    operation="DELETE OR UPDATE",
                    settings={"search_path": ""},
                    table="BenchmarkVersion",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="benchmarkversion",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_version_no_truncate",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_VERSION_NO_TRUNCATE,
                    function="refuse_benchmark_version_truncate",
                    hash="b980242a8df26c40963d38157a637d3a42017e87",
                    level="STATEMENT",
                    name="trg_benchmark_version_no_truncate",
                    operation="TRUNCATE",
                    settings={"search_path": ""},
                    table="BenchmarkVersion",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="benchmarkreview",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_review_append_only",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_REVIEW_APPEND_ONLY,
                    function="refuse_benchmark_review_change",
                    hash="d153b5f6f2fd0e9e12d397ab4d781b64bc1843a0",
                    level="ROW",
                    name="trg_benchmark_review_append_only",
                    operation="DELETE OR UPDATE",
                    settings={"search_path": ""},
                    table="BenchmarkReview",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="benchmarkreview",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_review_no_truncate",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_REVIEW_NO_TRUNCATE,
                    function="refuse_benchmark_review_truncate",
                    hash="b00ef78d57b512da9c3efb27ea9c52bc94056c19",
                    level="STATEMENT",
                    name="trg_benchmark_review_no_truncate",
                    operation="TRUNCATE",
                    settings={"search_path": ""},
                    table="BenchmarkReview",
                    when="BEFORE",
                ),
            ),
        ),
    ]
