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
    "42501": "The role lacks a privilege. GRANT it, or ALTER TABLE … OWNER TO the role that migrates.",
    "53100": "The disk is full. Free some space or enlarge it.",
    "53200": "The server is out of memory. Lower maintenance_work_mem for the role that migrates.",
    "53300": "The server has no free connection. Close some, or raise max_connections.",
    "53400": "A limit of the server is exceeded. Raise the limit that the message names.",
    "55P03": "A lock is held by another session (see pg_locks). Wait until it is released.",
    "57P01": "The server was restarted, or somebody terminated the session. Check that it is running.",
    "57P02": "The server crashed. Find out why, and check that it is running again.",
    "57P03": "The server is starting up or shutting down. Wait until it is up.",
    "57014": "Somebody cancelled the statement, or it exceeded statement_timeout: ALTER ROLE … SET it.",
    "25006": "The server accepts no writes: it is a replica, or read-only. Set DIRECT_URL to the primary.",
    "08": "The connection was lost. Check that the server is running.",
    "23": "Rows violate a constraint that the migration adds. Repair or remove the rows that the message names.",
}

# undefined_table, undefined_column, undefined_function, undefined_object. Source: PostgreSQL manual, appendix A.
NOT_THERE = {"42P01", "42703", "42883", "42704"}

# Error messages of libpq and Django from before there is a session; these have no SQLSTATE.
CONNECTION_CURES = (
    (r"statement pooling mode", "Set DIRECT_URL to a direct or session-pooled connection."),
    (r"password authentication failed|no password supplied", "Check user and password in the URL."),
    (r"could not translate host name|Name or service|nodename|resolve", "Check the host in the URL."),
    (
        r"Connection refused|No such file|time.?out|timed out|unreachable",
        "Check host and port, and whether the server is up.",
    ),
    (r'database ".*" does not exist', "Check the name of the database at the end of the URL, or create it."),
    (r"PostgreSQL \d+ or later is required", "Use PostgreSQL 15 to 18."),
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
    return CURES.get(state) or CURES.get(state[:2]) or "Fix what the message names."


def kept(migration: Migration, *, is_known: bool = True) -> str:
    """Say what is left of an interrupted migration. `is_known` is False if a COMMIT may have been sent."""
    if not migration.atomic:
        return (
            "Its finished steps are kept. The next run drops an unfinished index, and continues from there."
        )
    return "None of it was kept." if is_known else "Either all or none of it was kept."


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
        found = next((advice for pattern, advice in patterns if re.search(pattern, message)), cure(error))
        if sqlstate(error) in NOT_THERE:
            found = "The schema does not match this code: `manage.py migrate --plan` shows what is missing."
        super().__init__(
            f"The database ({place}) cannot be used: {message}\n{found} Then run `manage.py {command}` again"
            + ("; migrations that are recorded as applied stay applied." if command == "migrate" else ".")
        )


@contextmanager
def as_command_errors(connection: BaseDatabaseWrapper, *, command: str) -> Iterator[None]:
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
            else "RESET it with ALTER ROLE or ALTER DATABASE. At Supabase, check first whether the disk is full."
        )
        super().__init__(f"The server is {what}. Nothing was changed. {way_out}")


class DefinitionConflict(CommandError):
    """An object that a migration would create exists with another definition."""

    def __init__(self, thing: str, *, found: str, expected: str) -> None:
        super().__init__(
            f"{thing} already exists, with another definition.\n"
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
        self,
        error: KeyboardInterrupt,
        *,
        what_stays: str = "Migrations that are recorded as applied stay applied.",
    ) -> None:
        super().__init__(
            f"{str(error) or 'Ctrl-C'}: {what_stays}\nTo continue, run `manage.py migrate` again.",
            returncode=interruption.exit_status(error),
        )


class PatienceExhausted(CommandError):
    """A migration did not get the locks that it needs."""

    def __init__(self, what: str, blockers: Sequence[Blocker], *, seconds: float, kept: str) -> None:
        who = "\n  ".join(map(str, blockers)) or "no transaction that this role can see"
        ways_out = [
            f"SELECT pg_terminate_backend({blocker.pid})" for blocker in blockers if blocker.pid is not None
        ] + [
            f"ROLLBACK PREPARED '{blocker.application}'"
            for blocker in blockers
            if blocker.kind == "prepared transaction"
        ]
        super().__init__(
            f"{what} did not get its locks within {units.duration(seconds)}. It was blocked by:\n"
            f"  {who}\n"
            f"{kept}\n"
            f"End what blocks it ({'; '.join(ways_out) or 'see pg_locks'}) or wait for it, then run `manage.py "
            "migrate` again; --patience makes it try longer."
        )
