"""How a migration reaches a database that is in use.

Migrations say `from council import zero_downtime` and `zero_downtime.AddIndexConcurrently(…)`.
"""

from council.zero_downtime.baseline import AdoptBaseline
from council.zero_downtime.batch_operations import UpdateInBatches
from council.zero_downtime.index_operations import (
    AddIndexConcurrently,
    AddUniqueIndexConcurrently,
    RemoveIndexConcurrently,
)
from council.zero_downtime.operations import (
    AddForeignKeyNotValid,
    CreateEnum,
    EnableRowLevelSecurity,
    ValidateConstraint,
)
from council.zero_downtime.trigger_operations import AddTrigger, CreateFunction, ReplaceTrigger

__all__ = [
    "AddForeignKeyNotValid",
    "AddIndexConcurrently",
    "AddTrigger",
    "AddUniqueIndexConcurrently",
    "AdoptBaseline",
    "CreateEnum",
    "CreateFunction",
    "EnableRowLevelSecurity",
    "RemoveIndexConcurrently",
    "ReplaceTrigger",
    "UpdateInBatches",
    "ValidateConstraint",
]
