"""Checks that must pass after a deploy and at any time. `manage.py verify_schema` runs them.

A check is a function that yields findings. It is registered under the name that operators see. An app registers
its checks in its module `verification`, which is imported when checks are run:

    @verification.register("ledger figures")
    def figures(database: Database) -> Iterator[Finding]: ...
"""

from council.verification import data_api_checks, leftover_checks, schema_checks, server_checks  # noqa: F401  # registers them
from council.verification.checks import Finding, Level, failed, first_line, note, register, warning
from council.verification.database import Database
from council.verification.sampling import Sample

__all__ = ["Database", "Finding", "Level", "Sample", "failed", "first_line", "note", "register", "warning"]
