"""How a migration reaches a database that is in use.

Migrations say `from council import zero_downtime` and `zero_downtime.AddIndexConcurrently(…)`.
"""

from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.index_operations import (
    AddIndexConcurrently,
    AddUniqueIndexConcurrently,
    RemoveIndexConcurrently,
)
from council.zero_downtime.operations import (
    AddForeignKeyNotValid,
    AddTrigger,
    CreateEnum,
    EnableRowLevelSecurity,
    ValidateConstraint,
)

__all__ = [
    "AddForeignKeyNotValid",
    "AddIndexConcurrently",
    "AddTrigger",
    "AddUniqueIndexConcurrently",
    "AdoptBaseline",
    "CreateEnum",
    "EnableRowLevelSecurity",
    "RemoveIndexConcurrently",
    "ValidateConstraint",
]
