"""A release is refused before its month is over, and never changed once it is out.

Locks: SHARE ROW EXCLUSIVE on BenchmarkRelease, BenchmarkFigure and BenchmarkBasis, for an instant; writing
waits.
Safe with the code before it: yes, unless it writes what they refuse.
Way back: puts back what was there before (ACCESS EXCLUSIVE for an instant where a trigger goes).
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

BENCHMARK_RELEASE_IN_TIME = """\
BEGIN
  NEW."takenAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC';
  IF NEW."cutOff" > NEW."takenAt" THEN
    RAISE EXCEPTION 'The month that begins on % is not over.', NEW.month
      USING ERRCODE = 'check_violation',
            HINT = format('Take its release from %s UTC on.', NEW."cutOff");
  END IF;
  RETURN NEW;
END"""

BENCHMARK_RELEASE_APPEND_ONLY = """\
BEGIN
  RAISE EXCEPTION 'Releases of benchmarks are never changed: % of "%" refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation',
          HINT = 'The next release has new figures.';
END"""

BENCHMARK_RELEASE_NO_TRUNCATE = """\
BEGIN
  RAISE EXCEPTION 'Releases of benchmarks are never changed: % of "%" refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation',
          HINT = 'The next release has new figures.';
END"""

BENCHMARK_FIGURE_IN_TIME = """\
BEGIN
  IF NOT EXISTS (
    SELECT FROM @extschema@."BenchmarkRelease" AS release
     WHERE release.id = NEW."releaseId"
       AND release."takenAt" = (CURRENT_TIMESTAMP AT TIME ZONE 'UTC')::timestamp(3)
  ) THEN
    RAISE EXCEPTION 'Release % is out: nothing can be added to "%" for it.', NEW."releaseId", TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation',
            HINT = 'What belongs to a release is added in the transaction that takes it.';
  END IF;
  RETURN NEW;
END"""

BENCHMARK_FIGURE_APPEND_ONLY = """\
BEGIN
  RAISE EXCEPTION 'Releases of benchmarks are never changed: % of "%" refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation',
          HINT = 'The next release has new figures.';
END"""

BENCHMARK_FIGURE_NO_TRUNCATE = """\
BEGIN
  RAISE EXCEPTION 'Releases of benchmarks are never changed: % of "%" refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation',
          HINT = 'The next release has new figures.';
END"""

BENCHMARK_BASIS_IN_TIME = """\
BEGIN
  IF NOT EXISTS (
    SELECT FROM @extschema@."BenchmarkRelease" AS release
     WHERE release.id = NEW."releaseId"
       AND release."takenAt" = (CURRENT_TIMESTAMP AT TIME ZONE 'UTC')::timestamp(3)
  ) THEN
    RAISE EXCEPTION 'Release % is out: nothing can be added to "%" for it.', NEW."releaseId", TG_TABLE_NAME
      USING ERRCODE = 'restrict_violation',
            HINT = 'What belongs to a release is added in the transaction that takes it.';
  END IF;
  RETURN NEW;
END"""

BENCHMARK_BASIS_APPEND_ONLY = """\
BEGIN
  RAISE EXCEPTION 'Releases of benchmarks are never changed: % of "%" refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation',
          HINT = 'The next release has new figures.';
END"""

BENCHMARK_BASIS_NO_TRUNCATE = """\
BEGIN
  RAISE EXCEPTION 'Releases of benchmarks are never changed: % of "%" refused.', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation',
          HINT = 'The next release has new figures.';
END"""


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0015_validate_release_fks"), ("council", "0010_sign_in_failures")]
    operations = [
        zero_downtime.AddTrigger(
            model_name="release",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_release_in_time",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_RELEASE_IN_TIME,
                    function="check_benchmark_release_time",
                    hash="01e4707b1a34513e051505bc4db579cc4b5e99ea",
                    level="ROW",
                    name="trg_benchmark_release_in_time",
                    operation="INSERT",
                    settings={"search_path": ""},
                    table="BenchmarkRelease",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="release",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_release_append_only",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_RELEASE_APPEND_ONLY,
                    function="refuse_benchmark_release_change",
                    hash="d77d341d2bad9ee9094663fb5fefc2c24c417123",
                    level="ROW",
                    name="trg_benchmark_release_append_only",
                    operation="DELETE OR UPDATE",
                    settings={"search_path": ""},
                    table="BenchmarkRelease",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="release",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_release_no_truncate",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_RELEASE_NO_TRUNCATE,
                    function="refuse_benchmark_release_truncate",
                    hash="7c0a3797da4a07225883dac5f4524df71ef9b9b0",
                    level="STATEMENT",
                    name="trg_benchmark_release_no_truncate",
                    operation="TRUNCATE",
                    settings={"search_path": ""},
                    table="BenchmarkRelease",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="figure",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_figure_in_time",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_FIGURE_IN_TIME,
                    function="check_benchmark_figure_time",
                    hash="0f4e4a73b8a552a2f4476b8e1e79214bf11b88a6",
                    level="ROW",
                    name="trg_benchmark_figure_in_time",
                    operation="INSERT",
                    settings={"search_path": ""},
                    table="BenchmarkFigure",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="figure",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_figure_append_only",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_FIGURE_APPEND_ONLY,
                    function="refuse_benchmark_figure_change",
                    hash="0848816c953b12cfefae0511da92c1e890d55a22",
                    level="ROW",
                    name="trg_benchmark_figure_append_only",
                    operation="DELETE OR UPDATE",
                    settings={"search_path": ""},
                    table="BenchmarkFigure",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="figure",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_figure_no_truncate",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_FIGURE_NO_TRUNCATE,
                    function="refuse_benchmark_figure_truncate",
                    hash="089423bd83ec64405c7f4b0763df0e330ce35ef3",
                    level="STATEMENT",
                    name="trg_benchmark_figure_no_truncate",
                    operation="TRUNCATE",
                    settings={"search_path": ""},
                    table="BenchmarkFigure",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="basis",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_basis_in_time",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_BASIS_IN_TIME,
                    function="check_benchmark_basis_time",
                    hash="686a11689a7673194249c881ef13abca5ca2ba1f",
                    level="ROW",
                    name="trg_benchmark_basis_in_time",
                    operation="INSERT",
                    settings={"search_path": ""},
                    table="BenchmarkBasis",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="basis",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_basis_append_only",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_BASIS_APPEND_ONLY,
                    function="refuse_benchmark_basis_change",
                    hash="ac32fb47025cd2aeb8e34ab499aaa5b71cb5d57e",
                    level="ROW",
                    name="trg_benchmark_basis_append_only",
                    operation="DELETE OR UPDATE",
                    settings={"search_path": ""},
                    table="BenchmarkBasis",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="basis",
            trigger=triggers.CompiledTrigger(
                name="trg_benchmark_basis_no_truncate",
                sql=triggers.TriggerSqlV1(
                    body=BENCHMARK_BASIS_NO_TRUNCATE,
                    function="refuse_benchmark_basis_truncate",
                    hash="34d110c69a555b3b78ce86085109d923cf410116",
                    level="STATEMENT",
                    name="trg_benchmark_basis_no_truncate",
                    operation="TRUNCATE",
                    settings={"search_path": ""},
                    table="BenchmarkBasis",
                    when="BEFORE",
                ),
            ),
        ),
    ]
