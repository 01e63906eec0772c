"""The database that is copied. It is only read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import psycopg

from council.rehearsal import dumps, tools
from council.rehearsal.database_url import DatabaseUrl, Identity, identity
from council.rehearsal.dumps import Dump
from council.rehearsal.errors import CannotRehearse

APPLICATION = "council rehearsal, reading"
# A dump that waits for a lock can make later statements wait, so it must not wait long.
LOCK_TIMEOUT = "2s"
WATCH_SECONDS = 0.2

# Whether the role may read each table, and whether rows are hidden from it. pg_dump would notice it too late.
HIDDEN = """
    SELECT c.relname, has_table_privilege(c.oid, 'SELECT'), row_security_active(c.oid)
      FROM pg_class c
     WHERE c.relnamespace = to_regnamespace(quote_ident(%s)) AND c.relkind IN ('r', 'p', 'm', 'S')
     ORDER BY 1
"""
EXTENSIONS = "SELECT extname, nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace"


@dataclass(frozen=True)
class Source:
    """A database that was checked and can be dumped."""

    database: DatabaseUrl
    schema: str
    identity: Identity
    version: int
    database_bytes: int
    extensions: tuple[tuple[str, str], ...]
    is_direct: bool

    def dump(self, folder: Path, *, advanced: Callable[[float], object]) -> Dump:
        """Dump the schema, from one snapshot, in a read-only transaction. Raises CannotRehearse."""
        file = folder / "source.dump"
        ended = Event()
        watcher = Thread(target=_watch, args=[file, self.database_bytes, advanced, ended], daemon=True)
        watcher.start()
        try:
            output = tools.run(
                tools.binaries("pg_dump") / "pg_dump",
                "--format=custom",
                "--compress=1",
                "--no-owner",
                "--no-privileges",
                "--no-password",
                f"--lock-wait-timeout={LOCK_TIMEOUT}",
                f'--schema="{self.schema}"',
                f"--file={file}",
                f"--dbname={self.database.without_password}",
                environment=self.database.environment | self._read_only(),
            )
        finally:
            ended.set()
            watcher.join()
        if output.status:
            said = [line.partition("error: ")[2] or line for line in output.errors]
            message = " ".join(said[:3]) or "pg_dump gave no error message"
            raise CannotRehearse(
                f"{self.database.option} ({self.database}) cannot be dumped: {message}",
                cure="If another session held a lock, try again. If a privilege is missing, GRANT it or be the owner.",
            )
        found = dumps.read(file)
        return Dump(found.file, found.format, found.version, self.extensions, found.entries)

    def _read_only(self) -> dict[str, str]:
        # A pooler may refuse options. pg_dump's transaction is READ ONLY in any case.
        return {"PGOPTIONS": "-c default_transaction_read_only=on"} if self.is_direct else {}


def look(database: DatabaseUrl, *, schema: str) -> Source:
    """Check that this role can dump the whole schema with the installed programs. Raises CannotRehearse."""
    with database.connect(application=APPLICATION) as session:
        session.execute("SET default_transaction_read_only = on")
        session.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        database.refuse_transaction_pooler(session)
        _refuse_hidden_tables(session, database, schema)
        version = session.info.server_version // 10000
        _refuse_later_server(version, database)
        backend = session.execute("SELECT pg_backend_pid(), pg_database_size(current_database())").fetchone()
        assert backend
        extensions = tuple((row[0], row[1]) for row in session.execute(EXTENSIONS).fetchall())
        is_direct = backend[0] == session.info.backend_pid
        return Source(database, schema, identity(session), version, int(backend[1]), extensions, is_direct)


def _refuse_hidden_tables(session: psycopg.Connection, database: DatabaseUrl, schema: str) -> None:
    user = session.info.user
    try:
        found = session.execute(HIDDEN, [schema]).fetchall()
    except psycopg.errors.InsufficientPrivilege:
        found = [(schema, False, False)]
    if not found:
        raise CannotRehearse(
            f"{database.option} ({database}) contains no table in the schema {schema}.",
            cure="Name the database that contains the gateway's tables, and its schema: …?schema=NAME.",
        )
    closed = [f'"{name}"' for name, is_readable, _ in found if not is_readable]
    if closed or not _may_use(session, schema):
        listed = ", ".join(closed[:5]) + (f" and {len(closed) - 5} more" if len(closed) > 5 else "")
        raise CannotRehearse(
            f"{user} may not read {listed or f'the schema {schema}'} ({database}).",
            cure=f'GRANT USAGE ON SCHEMA "{schema}" TO "{user}", and GRANT SELECT ON ALL TABLES and ALL SEQUENCES '
            f'IN SCHEMA "{schema}" TO "{user}"; or read as the owner.',
        )
    hidden = [f'"{name}"' for name, _, is_hidden in found if is_hidden]
    if hidden:
        raise CannotRehearse(
            f"Row level security hides rows of {', '.join(hidden[:5])} from {user} ({database}).",
            cure="Connect as the owner, or as a role with BYPASSRLS.",
        )


def _may_use(session: psycopg.Connection, schema: str) -> bool:
    return session.execute("SELECT has_schema_privilege(%s, 'USAGE')", [schema]).fetchone() == (True,)


def _refuse_later_server(version: int, database: DatabaseUrl) -> None:
    program = tools.binaries("pg_dump", "pg_restore") / "pg_dump"
    said = tools.run(program, "--version").text  # pg_dump (PostgreSQL) 18.4
    ours = int("".join(filter(str.isdecimal, said.split()[2].partition(".")[0])))
    if version > ours:
        raise CannotRehearse(
            f"{database.option} ({database}) is PostgreSQL {version}, which the pg_dump of version {ours} here cannot "
            "read.",
            cure=f"Set COUNCIL_POSTGRES_BIN to the binaries of PostgreSQL {version}.",
        )


def _watch(file: Path, database_bytes: int, advanced: Callable[[float], object], ended: Event) -> None:
    """Estimate the progress of a dump from its file's size."""
    whole = max(database_bytes / dumps.GROWTH[dumps.CUSTOM], 1)
    while not ended.wait(WATCH_SECONDS):
        if file.exists():
            advanced(min(file.stat().st_size / whole, 0.99))
