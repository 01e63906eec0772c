"""What must be so after a deploy and at any time: checks, run by `manage.py verify_schema`.

A check is a function that yields findings, registered under the name by which operators know it. An app registers
its own in its module `verification`, which is imported when checks are run:

    @verification.register("ledger figures")
    def figures(database: Database) -> Iterator[Finding]: ...
"""

from council.verification import catalogue, exposure, leftovers, session  # noqa: F401  # registers them
from council.verification.checks import Finding, Level, failed, first_line, note, register, warning
from council.verification.database import Database
from council.verification.sampling import Sample

__all__ = ["Database", "Finding", "Level", "Sample", "failed", "first_line", "note", "register", "warning"]
