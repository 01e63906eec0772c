"""Errors for operators: what happened, what has been done, and what to run next."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from django.core.management import CommandError
from django.db import DatabaseError, InterfaceError, NotSupportedError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.migration import Migration

from council.postgres import units
from council.zero_downtime import interruption
from council.zero_downtime.blockers import Blocker

# Keys are SQLSTATEs, or their first two characters, the class.
CURES = {
    "42501": "The role lacks a right. Give it: GRANT, or ALTER TABLE … OWNER TO the role that migrates.",
    "53100": "The disk is full. Free some space or enlarge it.",
    "53200": "The server is out of memory. Lower maintenance_work_mem for the role that migrates.",
    "53300": "The server has no connection free. Close some, or raise max_connections.",
    "53400": "A limit of the server's is exceeded. Raise the one that is named.",
    "55P03": "A lock is held by another session (see pg_locks). Wait until it is released.",
    "57P01": "The server was restarted, or somebody terminated the session. See that it is up.",
    "57P02": "The server crashed. See that it is up, and why.",
    "57P03": "The server is starting up or shutting down. Wait until it is up.",
    "57014": "Somebody cancelled the statement, or statement_timeout did. ALTER ROLE … SET statement_timeout.",
    "25006": "The server takes no writes: it is a replica, or read-only. Set DIRECT_URL to the primary.",
    "08": "The connection was lost. See that the server is up.",
    "23": "Rows break a rule that the migration adds. Repair or remove the rows that are named.",
}

# undefined_table, undefined_column, undefined_function, undefined_object. Source: PostgreSQL manual, appendix A.
NOT_THERE = {"42P01", "42703", "42883", "42704"}

# Error messages of libpq and Django from before there is a session; these have no SQLSTATE.
CONNECTION_CURES = (
    (r"statement pooling mode", "Set DIRECT_URL to a direct or session-pooled connection."),
    (
        r"password authentication failed|no password supplied",
        "Check user and password in the URL.",
    ),
    (
        r"could not translate host name|Name or service|nodename|resolve",
        "Check the host in the URL.",
    ),
    (
        r"Connection refused|No such file|time.?out|timed out|unreachable",
        "Check host and port, and whether the server is up.",
    ),
    (r'database ".*" does not exist', "Check the name of the database at the end of the URL, or create it."),
    (r"PostgreSQL \d+ or later is required", "Use a server of PostgreSQL 15 to 18."),
)


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of a database error, or "" if it has none, as after a lost connection."""
    cause = error.__cause__ or error
    return str(getattr(cause, "sqlstate", None) or "")


def is_lost_connection(error: BaseException) -> bool:
    """Return whether the connection is lost, so that nobody knows what the server has committed."""
    state = sqlstate(error)
    unspoken = not state and isinstance(error, OperationalError | InterfaceError)
    return unspoken or state[:2] == "08" or state[:4] == "57P0"


def cure(error: BaseException) -> str:
    state = sqlstate(error)
    if not state and is_lost_connection(error):
        return CURES["08"]
    return CURES.get(state) or CURES.get(state[:2]) or "Repair what the message names."


def kept(migration: Migration, *, is_known: bool = True) -> str:
    """Say what is left of an interrupted migration. `is_known` is False if a COMMIT may have been sent."""
    if not migration.atomic:
        return "Its finished steps are kept; the next run drops what an unfinished index left, and goes on from there."
    return "Nothing of it was kept." if is_known else "It was kept whole or not at all."


class DatabaseUnusable(CommandError):
    """The database could not be reached, or cannot be migrated."""

    def __init__(
        self, error: BaseException, connection: BaseDatabaseWrapper, *, command: str = "migrate"
    ) -> None:
        given = connection.settings_dict
        place = (
            f"{given['HOST'] or 'the local socket'}, port {given['PORT'] or 5432}, database {given['NAME']}"
        )
        message = str(error).strip()
        patterns = CONNECTION_CURES if sqlstate(error)[:2] in {"", "08"} else ()
        found = next((words for pattern, words in patterns if re.search(pattern, message)), cure(error))
        if sqlstate(error) in NOT_THERE:
            found = "The schema is not this code's: `manage.py migrate --plan` says what is to do."
        super().__init__(
            f"The database ({place}) cannot be used: {message}\n{found} Then run `manage.py {command}` again"
            + ("; what is recorded as applied stays applied." if command == "migrate" else ".")
        )


@contextmanager
def said(connection: BaseDatabaseWrapper, *, command: str) -> Iterator[None]:
    """Turn a command's database errors into DatabaseUnusable, which says what to do."""
    try:
        yield
    except (DatabaseError, NotSupportedError) as error:
        raise DatabaseUnusable(error, connection, command=command) from error


class TakesNoWrites(CommandError):
    def __init__(self, *, replica: bool) -> None:
        what = "a read-only replica" if replica else "set to default_transaction_read_only"
        way_out = (
            "Set DIRECT_URL to the primary."
            if replica
            else "ALTER ROLE or ALTER DATABASE … RESET it; at Supabase, see first whether the disk is full."
        )
        super().__init__(f"The server is {what}. Nothing was changed. {way_out}")


class DefinitionConflict(CommandError):
    """An object that a migration would create exists with another definition."""

    def __init__(self, thing: str, *, found: str, expected: str) -> None:
        super().__init__(
            f"{thing} is there already, with another definition.\n"
            f"  found:    {found}\n"
            f"  expected: {expected}\n"
            f"Nothing was changed. Rename or drop what was found, then run migrate again."
        )


class MigrationFailed(CommandError):
    """A migration stopped because of a database error."""

    def __init__(self, migration: Migration, error: BaseException, *, backwards: bool, progress: str) -> None:
        what = "reversed" if backwards else "applied"
        super().__init__(
            f"{migration} could not be {what}: {str(error).strip()}\n"
            f"{kept(migration, is_known=not is_lost_connection(error))} {progress}\n"
            f"{cure(error)} Then run `manage.py migrate` again."
        )


class Interrupted(CommandError):
    """Ctrl-C, or a signal with the same meaning, ended the run."""

    def __init__(
        self, error: KeyboardInterrupt, *, what_stays: str = "What is recorded as applied stays applied."
    ) -> None:
        super().__init__(
            f"{str(error) or 'Ctrl-C'}: {what_stays}\nTo go on, run `manage.py migrate` again.",
            returncode=interruption.exit_status(error),
        )


class PatienceExhausted(CommandError):
    """A migration did not get the locks that it needs."""

    def __init__(self, what: str, blockers: Sequence[Blocker], *, seconds: float, kept: str) -> None:
        who = "\n  ".join(map(str, blockers)) or "nobody who could be seen"
        ways_out = [
            f"SELECT pg_terminate_backend({blocker.pid})" for blocker in blockers if blocker.pid is not None
        ] + [
            f"ROLLBACK PREPARED '{blocker.application}'"
            for blocker in blockers
            if blocker.kind == "prepared transaction"
        ]
        super().__init__(
            f"{what} got no lock within {units.duration(seconds)}. In its way:\n  {who}\n"
            f"{kept}\n"
            f"End what is in the way ({'; '.join(ways_out) or 'see pg_locks'}) or wait for it, then run "
            f"`manage.py migrate` again; --patience gives it longer."
        )
