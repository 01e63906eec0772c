"""Django's own tests, run with council.postgres.

`python -m tests.others.django_tests` runs them with Django's backend as well, and lists the tests that only ours fails.
They need a server with PostgreSQL's extensions, which the embedded one lacks. SERVER_URL names one, such as
"host=/run/postgresql user=postgres". Otherwise a private server is started from COUNCIL_POSTGRES_BIN or from Debian's
PostgreSQL.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from council.postgres import embedded
from tests.others import packages

ROOT = Path(__file__).resolve().parents[2]
OURS, STOCK = "council.postgres", "django.db.backends.postgresql"
MODULES = [
    "backends", "constraints", "custom_migration_operations", "datetimes", "dates", "db_functions", "indexes",
    "inspectdb", "introspection", "migrate_signals", "migration_test_data_persistence", "migrations", "migrations2",
    "model_indexes", "postgres_tests", "schema", "timezones",
]  # fmt: skip
# Packages that Django's tests import and we do not require.
PACKAGES = ["psycopg-pool==3.3.3", "tblib==3.2.2"]
EXTENSIONS = "SELECT count(*) FROM pg_available_extensions WHERE name IN ('pgcrypto', 'hstore', 'btree_gist')"
DEBIAN = Path("/usr/lib/postgresql/15/bin")


class Outcome:
    """The result of a run: how many tests ran, and the full names of those that failed."""

    def __init__(self, output: str, status: int) -> None:
        self.output = output
        self.status = status
        ran = re.search(r"^Ran (\d+) tests? in", output, re.MULTILINE)
        self.ran = int(ran[1]) if ran else 0
        self.failed = {
            match[1] for match in re.finditer(r"^(?:ERROR|FAIL): \w+ \((\S+?)\)", output, re.MULTILINE)
        }


def run(engine: str, *, server: str, processes: int) -> Outcome:
    """Run the modules on a server, given as libpq's connection string. Raises Unreachable."""
    sources = packages.sources_of_django()
    more = packages.installed("for-django-tests", PACKAGES)
    command = [sys.executable, "runtests.py", "--settings=tests.others.settings_of_django_tests", "--noinput"]
    done = subprocess.run(
        [*command, f"--parallel={processes}", *MODULES],
        cwd=sources / "tests",
        env={
            **{name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
            "PYTHONPATH": f"{ROOT}{os.pathsep}{more}",
            "SERVER_URL": server,
            "ENGINE": engine,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return Outcome(done.stdout, done.returncode)


def compare(server: str) -> None:
    found = {}
    for engine in (STOCK, OURS):
        found[engine] = run(engine, server=server, processes=os.cpu_count() or 1)
        print(f"{engine}: {found[engine].ran:,} tests, {len(found[engine].failed)} failed")
    for name in sorted(found[OURS].failed - found[STOCK].failed):
        print(f"  only ours: {name}")


def main() -> None:
    if server := os.environ.get("SERVER_URL"):
        compare(server)
        return
    binaries = Path(os.environ.get("COUNCIL_POSTGRES_BIN", DEBIAN))
    with tempfile.TemporaryDirectory(prefix="council-django-tests-") as folder:
        Path(folder).chmod(0o755)
        options = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        private = embedded.Server(Path(folder, "postgres"), binaries=binaries, options=options)
        address = private.start()
        try:
            compare(f"host={address.host} port={address.port} user={address.user}")
        finally:
            private.remove()


if __name__ == "__main__":
    main()
