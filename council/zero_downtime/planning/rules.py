"""The rules for changes to a database in use: what each warns about, with its faults and cures.

The plan, lint, and the refusals of migrate and makemigrations use them; docs/migrations.md lists them in a table.
"""

from typing import Any, NamedTuple


class Risk(NamedTuple):
    """Something that should not be done to a database in use. `rule` is the rule's name."""

    rule: str
    fault: str
    cure: str

    def of(self, **names: Any) -> "Risk":
        """Fill names into the texts of the fault and the cure."""
        return self._replace(fault=self.fault.format(**names), cure=self.cure.format(**names))


RULES = {
    "scan-under-lock": "a scan, or changed rows, while the same or an earlier statement makes reads or writes wait; "
    "SET NOT NULL, and a CHECK that is valid at once",
    "rewrite": "a table that is rewritten",
    "volatile-default": "a new column whose default has another value for each row, so that the table is rewritten",
    "breaks-earlier-code": "a column or a table that earlier code uses and that is dropped or renamed; a type that "
    "does not accept all that earlier code writes; an enum value or a type that is renamed",
    "not-null-without-default": "a column that becomes NOT NULL without a lasting default, although earlier code "
    "leaves it out or sets it to NULL",
    "plain-index": "an index not built concurrently, on a table that the migration did not create",
    "validated-key": "a foreign key not added NOT VALID, on a table that the migration did not create",
    "deadlock": "locks for which reads or writes wait, on several tables in use in one transaction, except for the two "
    "tables of a foreign key: a session that uses these tables in another order can deadlock with it",
    "unchecked-rows": "a CHECK added NOT VALID: rows that violate it can no longer be updated",
    "enum-value-used": "an enum value added and used together",
    "partitioned-table": "what PostgreSQL refuses for partitioned tables",
    "concurrent-in-transaction": "a concurrent build, or batches, in a migration that is one transaction",
    "not-compared": "a baseline that could not be compared because a session holds an ACCESS EXCLUSIVE lock on one of "
    "its tables",
    "refused": "what migrate will refuse, such as changing the type of a referenced primary key",
    "irreversible": "an operation that cannot be reversed",
    "rows-locked": "rows changed by one statement, so whoever writes to one of them waits for its end",
    "unknown-statement": "SQL whose locks are unknown; it names the locks that are held meanwhile",
    "unknown-operation": "Python whose locks are unknown; it names the locks that are held meanwhile",
    "nothing-to-accept": "a risk that a migration accepts but does not have; only `lint_migrations` reports it",
}
# These say that the duration of a step is unknown.
BLIND = {"unknown-operation", "unknown-statement"}
# These say why others wait. The remaining rules say what fails, or what breaks in code deployed before.
WAITING = BLIND | {
    *("deadlock", "plain-index", "rewrite", "rows-locked", "scan-under-lock", "validated-key"),
    "volatile-default",
}

CHECKED_WHEN_ADDED = Risk(
    "scan-under-lock",
    '"{constraint}" is checked against all rows of "{table}" while nobody can read it.',
    "Use zero_downtime.AddCheckNotValid, and zero_downtime.ValidateConstraint in a migration of its own.",
)
CHECKED_AGAIN = Risk(
    "scan-under-lock",
    '"{constraint}" is checked against all rows of "{table}", for the new type of "{column}", while nobody can read '
    "it.",
    "Drop it before this change, add it NOT VALID after it, and validate it in the next migration.",
)
SET_NOT_NULL = Risk(
    "scan-under-lock",
    'SET NOT NULL reads all rows of "{table}" while nobody else can.',
    'Add CHECK ("{column}" IS NOT NULL) NOT VALID, validate it in the next migration, and then set NOT NULL.',
)
READ_BEHIND_LOCK = Risk(
    "scan-under-lock",
    '"{locked}" stays locked ({mode}) while all of "{table}" is read.',
    "Put what reads all rows into a migration of its own.",
)
REWRITE = Risk(
    "rewrite",
    '{why} rewrites "{table}" with its indexes, while nobody can read it.',
    "Add a new column, fill it with zero_downtime.UpdateInBatches, and use it instead.",
)
VOLATILE_DEFAULT = Risk(
    "volatile-default",
    '{function}() returns another value for each row of "{table}", so all rows are rewritten.',
    "Add the column without a default, set the default, then fill it with zero_downtime.UpdateInBatches.",
)
NOT_NULL_WITHOUT_DEFAULT = Risk(
    "not-null-without-default",
    'Column "{column}" of "{table}" is NOT NULL and has no default: the migration fails if the table has rows, and '
    "earlier code cannot insert any.",
    "Give it a db_default, or allow NULL.",
)
NULL_REFUSED = Risk(
    "not-null-without-default",
    'Column "{column}" of "{table}" becomes NOT NULL: earlier code that sets it to NULL, or leaves it out although it '
    "has no default, cannot write rows.",
    "Keep a db_default, or let all code fill it in one release and forbid NULL in the next.",
)
COLUMN_GONE = Risk(
    "breaks-earlier-code",
    'Column "{column}" of "{table}" is dropped: earlier code, which reads and writes it, fails.',
    "Remove the field from the models in one release, and drop the column in the next: `makemigrations --forget`, then "
    "`--drop`.",
)
COLUMN_RENAMED = Risk(
    "breaks-earlier-code",
    'Column "{column}" of "{table}" is renamed: earlier code, which uses the old name, fails.',
    "Rename only the field, and keep the column with db_column. To rename it in the database as well, add a new "
    "column, write both, and drop the old one in the next release.",
)
TABLE_GONE = Risk(
    "breaks-earlier-code",
    'Table "{table}" is dropped: earlier code, which reads and writes it, fails.',
    "Remove the model in one release, and drop the table in the next: `makemigrations --forget`, then `--drop`.",
)
TABLE_RENAMED = Risk(
    "breaks-earlier-code",
    'Table "{table}" is renamed: earlier code, which uses the old name, fails.',
    "Rename only the model, and keep the table with db_table. To rename it in the database as well, create a view with "
    "the old name in the same migration, and drop the view in the next release.",
)
VALUES_REFUSED = Risk(
    "breaks-earlier-code",
    '"{column}" of "{table}" changes from {before} to {after}, which does not accept all values that earlier code '
    "writes or compares.",
    "Add a column of the new type, write both, and drop the old one in the next release.",
)
PLAIN_INDEX = Risk(
    "plain-index",
    'Index "{index}" is built while nobody can write to "{table}".',
    "Use zero_downtime.AddIndexConcurrently, in a migration with `atomic = False`.",
)
INDEX_OF_CONSTRAINT = Risk(
    "plain-index",
    'The index of "{constraint}" is built while nobody can read "{table}".',
    "Use zero_downtime.AddUniqueIndexConcurrently, in a migration with `atomic = False`.",
)
INDEX_REBUILT = Risk(
    "plain-index",
    'Index "{index}" is rebuilt, for the new type of "{column}", while nobody can read "{table}".',
    "Drop it before this change, with zero_downtime.RemoveIndexConcurrently, and build it again after it.",
)
REINDEX = Risk(
    "plain-index", '"{table}" is reindexed while nobody can write to it.', "Use REINDEX … CONCURRENTLY."
)
VALIDATED_KEY = Risk(
    "validated-key",
    '"{constraint}" is checked against all rows of "{table}" while nobody can write to it.',
    "Use zero_downtime.AddForeignKeyNotValid, and zero_downtime.ValidateConstraint in a migration of its own.",
)
DEADLOCK = Risk(
    "deadlock",
    'It waits for "{table}" while "{held}" stays locked ({mode}): a transaction that has used "{table}" and waits for '
    '"{held}" deadlocks with it.',
    'Put what locks "{table}" into a migration of its own.',
)
UNCHECKED_ROWS = Risk(
    "unchecked-rows",
    'Rows of "{table}" that violate "{constraint}" can no longer be updated until they are repaired.',
    "Repair them first. They are the rows WHERE NOT ({condition}).",
)
ENUM_VALUE_USED = Risk(
    "enum-value-used",
    'Value {label} of "{enum}" is added and used by the same migration, which PostgreSQL refuses.',
    "Add the value in a migration of its own, before this one.",
)
PARTITIONED = Risk(
    "partitioned-table",
    '"{table}" is partitioned: PostgreSQL refuses a {what}.',
    "Do it for each partition separately, and then for the parent, for which nothing is left to do.",
)
IN_TRANSACTION = Risk(
    "concurrent-in-transaction",
    "It cannot run in a transaction, and the migration is one.",
    "Set `atomic = False` on the migration.",
)
NOT_COMPARED = Risk(
    "not-compared",
    "Another session holds an ACCESS EXCLUSIVE lock on a table of the baseline, so it could not be compared.",
    "Plan again when that session has ended its transaction. migrate compares it before it writes anything.",
)
REFUSED = Risk("refused", "migrate refuses it: {error}", "Follow this message.")
IRREVERSIBLE = Risk("irreversible", "It cannot be reversed.", "To undo it, write another migration.")
ROWS_LOCKED = Risk(
    "rows-locked",
    '{rows:,} rows of "{table}" are changed by one statement, and stay locked until its transaction ends: whoever '
    "writes to one of them waits.",
    "Use zero_downtime.UpdateInBatches, in a migration with `atomic = False`.",
)
UNKNOWN_STATEMENT = Risk(
    "unknown-statement",
    "{why}, so its locks are unknown.",
    "Assume that it waits for everything and blocks everything, or write it as an operation of council.zero_downtime.",
)
UNREADABLE = Risk(
    "unknown-statement", "PostgreSQL's parser cannot read it: {error}", "Correct the statement."
)
UNKNOWN_OPERATION = Risk(
    "unknown-operation",
    "It is not SQL, so its locks and its duration are unknown.",
    "Write it as SQL; to change rows, use zero_downtime.UpdateInBatches.",
)
NOT_PLANNED = Risk(
    "unknown-operation",
    "It could not be planned ({error}).",
    "Read what it does, with `manage.py sqlmigrate` once all migrations before it are applied.",
)
NOTHING_TO_ACCEPT = Risk(
    "nothing-to-accept",
    "It accepts {rule}, but nothing that it does has this risk.",
    "Take {rule} out of `accepts`.",
)
