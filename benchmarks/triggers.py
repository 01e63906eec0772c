"""Triggers that record every change of answers, and keep the history and the reviews append-only."""

import pgtrigger

from council.postgres.triggers import Trigger

# If a submission got another member or category by hand, this records a withdrawal from the old one and new answers for
# the new one. If only the member's id changed, it records nothing: the history follows through its own foreign key. If
# the member was deleted, so was the history. The transaction may have begun long ago, hence clock_timestamp().
RECORD_VERSION = Trigger(
    name="trg_benchmark_submission_version",
    function="record_benchmark_version",
    level=pgtrigger.Row,
    when=pgtrigger.After,
    operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
    func="""
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
        END
    """,
)

# A row is deleted only with its member, and gets another memberId only when its member gets another id. Then companyKey
# changes as well, if the company is only that member.
VERSION_APPEND_ONLY = Trigger(
    name="trg_benchmark_version_append_only",
    function="refuse_benchmark_version_change",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    func="""
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
        END
    """,
)

# A row is deleted only with its version.
REVIEW_APPEND_ONLY = Trigger(
    name="trg_benchmark_review_append_only",
    function="refuse_benchmark_review_change",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    func="""
        BEGIN
          IF TG_OP = 'DELETE' AND NOT EXISTS (
            SELECT FROM @extschema@."BenchmarkVersion" AS version WHERE version.id = OLD."versionId"
          ) THEN
            RETURN OLD;
          END IF;
          RAISE EXCEPTION 'The reviews of benchmarks are append-only: % of row % refused.', TG_OP, OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Add a review: the newest of a version is in force.';
        END
    """,
)


def _no_truncate(*, name: str, function: str, what: str) -> Trigger:
    return Trigger(
        name=name,
        function=function,
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        func=f"""
            BEGIN
              RAISE EXCEPTION '{what}: TRUNCATE refused.'
                USING ERRCODE = 'restrict_violation',
                      HINT = 'To empty a throw-away database, drop it.';
            END
        """,
    )


NO_SUBMISSION_TRUNCATE = _no_truncate(
    name="trg_benchmark_submission_no_truncate",
    function="refuse_benchmark_submission_truncate",
    what="Every change of benchmark answers is recorded",
)
NO_VERSION_TRUNCATE = _no_truncate(
    name="trg_benchmark_version_no_truncate",
    function="refuse_benchmark_version_truncate",
    what="The history of benchmarks is append-only",
)
NO_REVIEW_TRUNCATE = _no_truncate(
    name="trg_benchmark_review_no_truncate",
    function="refuse_benchmark_review_truncate",
    what="The reviews of benchmarks are append-only",
)
