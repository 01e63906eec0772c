"""Break the code that guards the data, one guard at a time, and check that a test fails: `python -m tests.mutants`.

The guards are in the TOML files beside this one: where each is, its text, the text that breaks it, and the tests that
should fail. `file` is a file of the project, which is broken in a copy of the project with its own server. `function`
or `trigger` is replaced in the database. `--only PATTERN` tries guards whose kind, place or text matches.
`--modules` tries all mutants that cosmic-ray makes of the modules in `modules.toml`, with the tests that run the
changed line. `--every 4 --first 0` tries those with the numbers 0, 4, 8 and so on.

A mutant for which no test fails needs a `reason`. A reason for a mutant for which a test fails is out of date. Both are
reported as errors.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.mutants import lists, modules

ROOT = Path(__file__).resolve().parent.parent.parent
COPY = ROOT / "build" / "mutants"


def copy() -> None:
    """Copy the files that git tracks or would add. The copy keeps its server and databases between runs."""
    COPY.mkdir(parents=True, exist_ok=True)
    for path in COPY.iterdir():
        if path.name != ".postgres":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in names.stdout.splitlines():
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="PATTERN")
    parser.add_argument("--modules", action="store_true")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    only, source = given.only, modules if given.modules else lists
    copy()
    migrations = hashlib.sha256()
    for path in sorted(COPY.glob("*/**/migrations/*.py")):
        migrations.update(path.read_bytes())
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "-s", "--create-db", "--reuse-db", "-p", "no:randomly",
         "-p", "tests.mutants.trials", *sorted(source.tests(only))],
        cwd=COPY,
        env={
            **os.environ,
            **({"MUTANTS_OF_MODULES": "yes"} if given.modules else {}),
            "MUTANTS": only,
            "MUTANTS_PART": f"{given.first} {given.every}",
            "KEEP_TEMPLATES": migrations.hexdigest()[:16],
        },
        check=False,
    ).returncode  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
