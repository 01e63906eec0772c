"""The rules for changes to a database in use: what each warns of, with its faults and cures.

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
    "scan-under-lock": "a scan, or changed rows, while an earlier or the same statement makes reads or writes wait; "
    "SET NOT NULL, and a CHECK that is valid at once",
    "rewrite": "a table that is rewritten",
    "volatile-default": "a new column whose default has another value for each row, so that the table is rewritten",
    "breaks-earlier-code": "a column or a table that earlier code uses, dropped or under another name; a type that "
    "refuses what earlier code writes; an enum value or a type under another name",
    "not-null-without-default": "a column that earlier code leaves out or sets to NULL, NOT NULL without a default "
    "that stays",
    "plain-index": "an index not built concurrently, on a table that the migration did not create",
    "validated-key": "a key not added NOT VALID, on a table that the migration did not create",
    "deadlock": "locks for which reads or writes wait, on several tables in use in one transaction, but for the two of "
    "a key: whoever uses these tables in another order can be in a deadlock with it",
    "unchecked-rows": "a CHECK added NOT VALID: rows that break it can no longer be updated",
    "enum-value-used": "an enum value added and used together",
    "partitioned-table": "what partitioned tables refuse",
    "concurrent-in-transaction": "a concurrent build, or batches, in a migration that is one transaction",
    "not-compared": "a baseline that could not be compared because a session holds an ACCESS EXCLUSIVE lock on one of "
    "its tables",
    "refused": "what migrate will refuse, such as changing the type of a referenced primary key",
    "irreversible": "an operation that cannot be reversed",
    "rows-locked": "rows changed by one statement, so whoever writes to one of them waits for its end",
    "unknown-statement": "SQL whose locks are unknown, and the locks behind which it runs",
    "unknown-operation": "Python whose locks are unknown, and the locks behind which it runs",
    "nothing-to-accept": "a risk that a migration accepts and does not take; only `lint_migrations` reports it",
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
CHECKED_ANEW = Risk(
    "scan-under-lock",
    '"{constraint}" is checked against all rows of "{table}", for the new type of "{column}", while nobody can read '
    "it.",
    "Drop it before; add it NOT VALID afterwards, and validate it in the next migration.",
)
SET_NOT_NULL = Risk(
    "scan-under-lock",
    'SET NOT NULL reads all of "{table}" while nobody else can.',
    'Add CHECK ("{column}" IS NOT NULL) NOT VALID, validate it in the next migration, and set NOT NULL then.',
)
READ_BEHIND_LOCK = Risk(
    "scan-under-lock",
    '"{locked}" stays locked ({mode}) while all of "{table}" is read.',
    "Put what reads all rows into a migration of its own.",
)
REWRITE = Risk(
    "rewrite",
    '{why} writes "{table}" anew, with its indexes, while nobody can read it.',
    "Add a column beside it, fill it by zero_downtime.UpdateInBatches, and move over to it.",
)
VOLATILE_DEFAULT = Risk(
    "volatile-default",
    '{function}() has another value for each row of "{table}", so that all are written anew.',
    "Add the column without a default, set the default, then fill it by zero_downtime.UpdateInBatches.",
)
NOT_NULL_WITHOUT_DEFAULT = Risk(
    "not-null-without-default",
    'Column "{column}" of "{table}" is NOT NULL and has no default: the migration fails if the table has rows, and '
    "earlier code cannot insert any.",
    "Give it a db_default, or allow NULL.",
)
NULL_REFUSED = Risk(
    "not-null-without-default",
    'Column "{column}" of "{table}" is NOT NULL then: earlier code that sets it to NULL, or leaves it out where no '
    "default stays, cannot write rows.",
    "Keep a db_default, or have all code fill it in one release and forbid NULL in the next.",
)
COLUMN_GONE = Risk(
    "breaks-earlier-code",
    'Column "{column}" of "{table}" is dropped: earlier code, which reads and writes it, fails.',
    "Take the field out of the models in one release, and drop the column in the next: `makemigrations --forget`, then "
    "`--drop`.",
)
COLUMN_RENAMED = Risk(
    "breaks-earlier-code",
    'Column "{column}" of "{table}" gets another name: earlier code, which uses the old one, fails.',
    "Rename only the field, and keep the column by db_column. For another name in the database, add a column beside "
    "it, write both, and drop the old one in the next release.",
)
TABLE_GONE = Risk(
    "breaks-earlier-code",
    'Table "{table}" is dropped: earlier code, which reads and writes it, fails.',
    "Take the model away in one release, and drop the table in the next: `makemigrations --forget`, then `--drop`.",
)
TABLE_RENAMED = Risk(
    "breaks-earlier-code",
    'Table "{table}" gets another name: earlier code, which uses the old one, fails.',
    "Rename only the model, and keep the table by db_table. For another name in the database, put a view with the old "
    "name in its place in the same migration, and drop that in the next release.",
)
VALUES_REFUSED = Risk(
    "breaks-earlier-code",
    '"{column}" of "{table}" goes from {before} to {after}, which refuses values that earlier code writes or compares '
    "it with.",
    "Add a column of the new type beside it, write both, and drop the old one in the next release.",
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
INDEX_BUILT_ANEW = Risk(
    "plain-index",
    'Index "{index}" is built anew, for the new type of "{column}", while nobody can read "{table}".',
    "Drop it before, by zero_downtime.RemoveIndexConcurrently, and build it again afterwards.",
)
REINDEX = Risk(
    "plain-index", '"{table}" is reindexed while nobody can write to it.', "REINDEX … CONCURRENTLY."
)
VALIDATED_KEY = Risk(
    "validated-key",
    '"{constraint}" is checked against all rows of "{table}" while nobody can write to it.',
    "Use zero_downtime.AddForeignKeyNotValid, and zero_downtime.ValidateConstraint in a migration of its own.",
)
DEADLOCK = Risk(
    "deadlock",
    'It waits for "{table}" while "{held}" stays locked ({mode}): a transaction that has used "{table}" and waits for '
    '"{held}" is in a deadlock with it.',
    'Put what locks "{table}" into a migration of its own.',
)
UNCHECKED_ROWS = Risk(
    "unchecked-rows",
    'Rows of "{table}" that break "{constraint}" can no longer be updated until they are repaired.',
    "Repair them first. They are the rows WHERE NOT ({condition}).",
)
ENUM_VALUE_USED = Risk(
    "enum-value-used",
    'Value {label} of "{enum}" is added and used by the same migration, which PostgreSQL refuses.',
    "Add the value in a migration of its own, before this one.",
)
PARTITIONED = Risk(
    "partitioned-table",
    '"{table}" is partitioned, and takes no {what}.',
    "Do it to each partition by itself, then to the parent, which then has nothing left to do.",
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
REFUSED = Risk("refused", "migrate refuses it: {error}", "Do as it says.")
IRREVERSIBLE = Risk("irreversible", "It cannot be reversed.", "To undo it, write another migration.")
ROWS_LOCKED = Risk(
    "rows-locked",
    '{rows:,} rows of "{table}" are changed by one statement, and stay locked until its transaction ends: whoever '
    "writes to one of them waits.",
    "Use zero_downtime.UpdateInBatches, in a migration with `atomic = False`.",
)
UNKNOWN_STATEMENT = Risk(
    "unknown-statement",
    "{what} locks is unknown.",
    "Assume that it waits for everything and blocks everything, or write it as an operation of council.zero_downtime.",
)
UNREADABLE = Risk(
    "unknown-statement", "PostgreSQL's parser does not read it: {error}", "Correct the statement."
)
UNKNOWN_OPERATION = Risk(
    "unknown-operation",
    "It is not SQL, so its locks and its duration are unknown.",
    "Write it as SQL, for rows by zero_downtime.UpdateInBatches.",
)
NOT_PLANNED = Risk(
    "unknown-operation",
    "It could not be planned ({error}).",
    "Read what it does, by `manage.py sqlmigrate` when it is the next to run.",
)
NOTHING_TO_ACCEPT = Risk(
    "nothing-to-accept",
    "It accepts {rule}, but nothing that it does has this risk.",
    "Take {rule} out of `accepts`.",
)
