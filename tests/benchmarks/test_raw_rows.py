"""Only four modules, and no view, read raw answers with SQL. import-linter checks the same for imports."""

import re

from tests.databases import ROOT

NAMES = re.compile(r"BenchmarkSubmission|BenchmarkVersion|benchmarksubmission|benchmarkversion")
# submissions: a member's own answers. flags, review: for staff, without the member. basis: for releases. The other
# modules only count or store rows.
READ = {f"benchmarks/{name}.py" for name in ("submissions", "flags", "review", "basis")}
KEEP = {
    "benchmarks/answers.py",  # declares them
    "benchmarks/triggers.py",  # writes and guards them
    "benchmarks/models.py",  # reviews belong to a version
    "benchmarks/verification.py",  # compares the two, and counts
    "benchmarks/staff_figures.py",  # counts submissions by category
    "benchmarks/demo.py",  # writes made-up ones into the embedded database
    "council/gateway/prisma_schema.py",  # names the tables of the gateway's schema file
}


def test_no_other_module_names_the_tables_of_raw_answers() -> None:
    naming = {
        str(file.relative_to(ROOT))
        for app in ("benchmarks", "council", "gamification", "resources")
        for kind in ("py", "html")
        for file in (ROOT / app).rglob(f"*.{kind}")
        if "migrations" not in file.parts and NAMES.search(file.read_text())
    }
    assert naming == READ | KEEP
