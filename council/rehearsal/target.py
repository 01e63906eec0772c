"""Where the copy goes: to a private server in a temporary folder, or to an empty database whose name allows it."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import psycopg
from psycopg import sql

from council.postgres import embedded, installation, units
from council.rehearsal import lock_samples, tools
from council.rehearsal.database_url import DatabaseUrl, Identity, identity
from council.rehearsal.errors import CannotRehearse
from council.rehearsal.load import GATEWAY, REPORT
from council.rehearsal.migrate_process import APPLICATION as MIGRATE
from council.zero_downtime.interruption import undisturbed

NAMED = "rehearsal"
PREFIX = "council-rehearsal-"
DATABASE = "rehearsal"
APPLICATION = "council rehearsal"
REMOVAL_SECONDS = 20.0
RUN_ALONE = "SELECT pg_try_advisory_lock(hashtext('council rehearsal'))"
# As durable as production. Only max_wal_size is larger, so that filling the copy does not force many checkpoints.
OPTIONS = {"max_wal_size": "2GB", "log_min_messages": "panic"}
# The size of a new data folder, and of the write-ahead log that filling the copy may write.
SERVER_BYTES = 60 << 20
WAL_BYTES = 2 << 30

# All objects that users created, except members of extensions, in an order in which they can be dropped.
CONTENTS = """
    SELECT kind, name FROM (
        SELECT 1, 'EXTENSION', quote_ident(extname) FROM pg_extension WHERE extname <> 'plpgsql'
         UNION ALL
        SELECT 2, CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                               WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.oid::regclass::text
          FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('e', 'i', 'a')
                             AND (d.deptype = 'e' OR c.relkind = 'S'))
         UNION ALL
        SELECT 3, CASE prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
               p.oid::regprocedure::text
          FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
         WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
         UNION ALL
        SELECT 4, CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, t.oid::regtype::text
          FROM pg_type t JOIN pg_namespace n ON n.oid = typnamespace
         WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND typelem = 0
           AND (typtype IN ('d', 'e', 'r') OR EXISTS (SELECT FROM pg_class c WHERE c.oid = typrelid AND relkind = 'c'))
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
         UNION ALL
        SELECT 5, 'SCHEMA', quote_ident(nspname)
          FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
    ) AS found (rank, kind, name)
     ORDER BY rank, name
"""


# Allowed in an otherwise empty database: its owner may have prepared them.
HARMLESS = {"EXTENSION", "SCHEMA"}
SESSIONS = """
    SELECT pg_terminate_backend(pid)
      FROM pg_stat_activity
     WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
       AND application_name = ANY(%s)
"""
Contents = list[tuple[str, str]]


@dataclass(frozen=True)
class Target:
    """A database that the copy is put into."""

    database: DatabaseUrl
    version: int
    folder: Path  # for the rehearsal's own files
    description: str


@contextmanager
def private(folder: Path | None, *, schema: str, needed_bytes: int) -> Iterator[Target]:
    """Run a server that is as durable as production, and remove it with all its files, whatever happens.

    Raises CannotRehearse if no server can be started, or if there is not enough space.
    """
    binaries = tools.binaries("postgres", "initdb")
    with _temporary_folder(folder) as made:
        server = embedded.Server(folder=made / "postgres", binaries=binaries, options=OPTIONS)
        try:
            free = shutil.disk_usage(_existing(server.home)).free
            refuse_lack_of_space(free, needed_bytes + SERVER_BYTES + WAL_BYTES, where=_existing(server.home))
            address = server.start()
            where = {"host": address.host, "port": address.port, "schema": schema}
            database = DatabaseUrl(
                f"postgresql://{address.user}@/{DATABASE}?{urlencode(where)}", "the private server"
            )
            with psycopg.connect(
                host=address.host, user=address.user, dbname="postgres", autocommit=True
            ) as session:
                session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
            version = int(installation.major(binaries))
            yield Target(database, version, made, f"a private PostgreSQL {server.version}")
        except embedded.EmbeddedServerError as error:
            raise CannotRehearse(
                str(error), cure="Or use an empty database on another server with --on."
            ) from error
        finally:
            with undisturbed():
                _remove(server)


@contextmanager
def given(database: DatabaseUrl, folder: Path | None, *, source: Identity | None) -> Iterator[Target]:
    """Use an empty database, and empty it again. Raises CannotRehearse, before any change, if it is unsuitable."""
    if NAMED not in database.settings["NAME"]:
        raise CannotRehearse(
            f"--on names {database}. A rehearsal fills and empties that database, so its name must contain {NAMED!r}.",
            cure=f"Create an empty one: CREATE DATABASE council_{NAMED}.",
        )
    with _temporary_folder(folder) as made, database.connect(application=APPLICATION) as session:
        database.refuse_transaction_pooler(session)
        if source and identity(session).is_same(source):
            raise CannotRehearse(
                f"--on ({database}) is the database that --from-url reads.",
                cure="Use another database. Nothing was changed.",
            )
        if session.execute(RUN_ALONE).fetchone() != (True,):
            raise CannotRehearse(
                f"Another rehearsal is running in --on ({database}).",
                cure="Wait for it, or use another database.",
            )
        before = contents(session)
        _refuse_unusable(session, database, before)
        version = session.info.server_version // 10000
        description = f"{database}, PostgreSQL {session.info.parameter_status('server_version')}"
        try:
            yield Target(database, version, made, description)
        finally:
            with undisturbed():
                empty(database, except_for=before)


def contents(session: psycopg.Connection) -> Contents:
    with session.transaction():
        session.execute("SELECT set_config('search_path', '', true)")
        return [(row[0], row[1]) for row in session.execute(CONTENTS).fetchall()]


def empty(database: DatabaseUrl, *, except_for: Contents) -> None:
    """End our sessions, and drop all that was created since. Raises CannotRehearse if something cannot be dropped."""
    refused: list[str] = []
    with database.connect(application=f"{APPLICATION}, removal") as session:
        session.execute("SET lock_timeout = '10s'; SET client_min_messages = warning")
        session.execute(SESSIONS, [[GATEWAY, REPORT, MIGRATE, lock_samples.APPLICATION]])
        for kind, name in contents(session):
            if (kind, name) not in except_for:
                try:
                    session.execute(f"DROP {kind} IF EXISTS {name} CASCADE".encode())
                except psycopg.Error as error:
                    refused.append(f"{kind} {name}: {str(error).splitlines()[0]}")
    if refused:
        raise CannotRehearse(
            f"Not all of the copy could be dropped from {database}: {'; '.join(refused[:3])}.",
            cure="Drop that database.",
        )


def refuse_lack_of_space(free: int, needed: int, *, where: Path) -> None:
    """Raise CannotRehearse, with the estimate, if there is not enough free space."""
    if free < needed:
        raise CannotRehearse(
            f"The copy needs about {units.size(needed)}, but {where} has only {units.size(free)} free. Nothing was "
            "changed.",
            cure="Free some space, set --folder to a larger disk, or rehearse with fewer members (--members, --scale).",
        )


def _refuse_unusable(session: psycopg.Connection, database: DatabaseUrl, found: Contents) -> None:
    things = [f"{kind.lower()} {name}" for kind, name in found if kind not in HARMLESS]
    if things:
        raise CannotRehearse(
            f"--on ({database}) is not empty: {', '.join(things[:5])}{' and more' if len(things) > 5 else ''}.",
            cure="Use an empty database. Nothing was changed in this one.",
        )
    row = session.execute(
        "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::boolean, "
        "has_database_privilege(current_database(), 'CREATE'), "
        "coalesce(has_schema_privilege(to_regnamespace(quote_ident(%s))::oid, 'CREATE'), true)",
        [database.schema],
    ).fetchone()
    assert row
    in_recovery, read_only, may_create, may_create_in_schema = row
    if in_recovery or read_only:
        raise CannotRehearse(f"--on ({database}) accepts no writes.", cure="Use a database on a primary.")
    if not (may_create and may_create_in_schema):
        raise CannotRehearse(
            f"{session.info.user} may not create anything in --on ({database}).",
            cure=f'ALTER DATABASE … OWNER TO "{session.info.user}".',
        )


@contextmanager
def _temporary_folder(parent: Path | None) -> Iterator[Path]:
    """Make a folder with our process id in its name. First remove the folders of processes that have ended."""
    place = Path(parent or tempfile.gettempdir())
    try:
        _sweep(place)
        made = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place)).resolve()
    except OSError as error:
        raise CannotRehearse(
            f"No folder can be created in {place}: {error.strerror}.",
            cure="Name a folder that you may write to with --folder.",
        ) from error
    try:
        if os.geteuid() == 0:
            made.chmod(0o755)  # the server runs as another account; its own folder inside is private
        yield made
    finally:
        with undisturbed():
            shutil.rmtree(made, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove what killed rehearsals have left behind, including their servers."""
    for path in place.glob(f"{PREFIX}*"):
        match = re.match(rf"{PREFIX}(\d+)-", path.name)
        if match and path.is_dir() and path.stat().st_uid == os.geteuid() and not _is_alive(int(match[1])):
            with suppress(embedded.EmbeddedServerError, OSError, CannotRehearse):
                embedded.Server(
                    path.resolve() / "postgres", binaries=tools.binaries("postgres", "initdb")
                ).remove()
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _remove(server: embedded.Server) -> None:
    """Remove a server, and retry: if its start was interrupted, some of its processes may still be writing."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while True:
        try:
            return server.remove()
        except embedded.EmbeddedServerError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
