"""Migration operations for a database that is in use.

Migrations use `from council import zero_downtime` and `zero_downtime.AddIndexConcurrently(…)`.
"""

from council.zero_downtime.baseline import AdoptBaseline, RowRule
from council.zero_downtime.batch_operations import UpdateInBatches
from council.zero_downtime.check_operations import (
    AddCheckNotValid,
    AddFieldCheckNotValid,
    AddFilledCheck,
    SetNotNull,
)
from council.zero_downtime.index_operations import (
    AddIndexConcurrently,
    AddLikeIndexConcurrently,
    AddUniqueIndexConcurrently,
    RemoveIndexConcurrently,
    RemoveUniqueIndexConcurrently,
)
from council.zero_downtime.operations import (
    AddEnumValue,
    AddForeignKeyNotValid,
    CreateEnum,
    EnableRowLevelSecurity,
    ValidateConstraint,
)
from council.zero_downtime.trigger_operations import (
    AddTrigger,
    CreateFunction,
    RemoveFunction,
    ReplaceFunction,
    ReplaceTrigger,
)

__all__ = [
    "AddCheckNotValid",
    "AddEnumValue",
    "AddFieldCheckNotValid",
    "AddFilledCheck",
    "AddForeignKeyNotValid",
    "AddIndexConcurrently",
    "AddLikeIndexConcurrently",
    "AddTrigger",
    "AddUniqueIndexConcurrently",
    "AdoptBaseline",
    "CreateEnum",
    "CreateFunction",
    "EnableRowLevelSecurity",
    "RemoveFunction",
    "RemoveIndexConcurrently",
    "RemoveUniqueIndexConcurrently",
    "ReplaceFunction",
    "ReplaceTrigger",
    "RowRule",
    "SetNotNull",
    "UpdateInBatches",
    "ValidateConstraint",
]
