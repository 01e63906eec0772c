"""Triggers that refuse early releases, and changes to existing releases."""

import pgtrigger

from council.postgres.triggers import Trigger

# Uses the database's clock and not the caller's, since it is the same for all machines, and also dates the answers.
TAKEN_IN_TIME = Trigger(
    name="trg_benchmark_release_in_time",
    function="check_benchmark_release_time",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    func="""
        BEGIN
          NEW."takenAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC';
          IF NEW."cutOff" > NEW."takenAt" THEN
            RAISE EXCEPTION 'The month that begins on % is not over.', NEW.month
              USING ERRCODE = 'check_violation',
                    HINT = format('Take its release from %s UTC on.', NEW."cutOff");
          END IF;
          RETURN NEW;
        END
    """,
)

# A release's rows must be added in the transaction that adds the release: `takenAt` is the time of that transaction.
CHECK_TIME = """
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
        END
"""

REFUSE_CHANGE = """
        BEGIN
          RAISE EXCEPTION 'Releases of benchmarks are never changed: % of "%" refused.', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'restrict_violation',
                  HINT = 'The next release has new figures.';
        END
"""

RELEASE_APPEND_ONLY = Trigger(
    name="trg_benchmark_release_append_only",
    function="refuse_benchmark_release_change",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    func=REFUSE_CHANGE,
)

RELEASE_NO_TRUNCATE = Trigger(
    name="trg_benchmark_release_no_truncate",
    function="refuse_benchmark_release_truncate",
    level=pgtrigger.Statement,
    when=pgtrigger.Before,
    operation=pgtrigger.Truncate,
    func=REFUSE_CHANGE,
)

FIGURE_IN_TIME = Trigger(
    name="trg_benchmark_figure_in_time",
    function="check_benchmark_figure_time",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    func=CHECK_TIME,
)

FIGURE_APPEND_ONLY = Trigger(
    name="trg_benchmark_figure_append_only",
    function="refuse_benchmark_figure_change",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    func=REFUSE_CHANGE,
)

FIGURE_NO_TRUNCATE = Trigger(
    name="trg_benchmark_figure_no_truncate",
    function="refuse_benchmark_figure_truncate",
    level=pgtrigger.Statement,
    when=pgtrigger.Before,
    operation=pgtrigger.Truncate,
    func=REFUSE_CHANGE,
)

BASIS_IN_TIME = Trigger(
    name="trg_benchmark_basis_in_time",
    function="check_benchmark_basis_time",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    func=CHECK_TIME,
)

BASIS_APPEND_ONLY = Trigger(
    name="trg_benchmark_basis_append_only",
    function="refuse_benchmark_basis_change",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    func=REFUSE_CHANGE,
)

BASIS_NO_TRUNCATE = Trigger(
    name="trg_benchmark_basis_no_truncate",
    function="refuse_benchmark_basis_truncate",
    level=pgtrigger.Statement,
    when=pgtrigger.Before,
    operation=pgtrigger.Truncate,
    func=REFUSE_CHANGE,
)
