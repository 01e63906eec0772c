"""Dumps made by pg_dump: recognising their format, checking them, and restoring them.

Only the application's schema is restored. Owners, rights, policies (they name roles), comments, publications,
subscriptions and other schemas are left out, because migrations do not depend on them.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from council.rehearsal import plain_dump, tools
from council.rehearsal.database_url import DatabaseUrl
from council.rehearsal.errors import CannotRehearse
from council.rehearsal.plain_dump import ESSENTIAL, NOT_RESTORED

CUSTOM, DIRECTORY, TAR, PLAIN = "custom", "directory", "tar", "plain"
# A rough estimate of how many times larger a database is than its dump. Tar and plain dumps are not compressed.
GROWTH = {CUSTOM: 8.0, DIRECTORY: 8.0, TAR: 3.0, PLAIN: 3.0}
JOBS = 2
ENTRY = re.compile(r"\d+; \d+ \d+ (?P<type>[A-Z]+(?: [A-Z]+)*) (?P<schema>\S+) (?P<rest>.*)")
FAILED_ENTRY = re.compile(r"from TOC entry \d+; \d+ \d+ (?P<type>[A-Z]+(?: [A-Z]+)*) (?P<name>.*) \S+$")
VERSION = re.compile(r"Dumped from database version:? (\d+)(\S*)")
EXTENSION = re.compile(
    r'^CREATE EXTENSION (?:IF NOT EXISTS )?"?([\w-]+)"?(?: WITH SCHEMA "?([\w-]+)"?)?;', re.MULTILINE
)


@dataclass(frozen=True)
class Dump:
    """A dump. `version` is the major version of the server that was dumped: 18 for 18.4."""

    file: Path
    format: str
    version: int
    extensions: tuple[tuple[str, str], ...] = ()
    entries: tuple[str, ...] = ()  # of the table of contents; a plain dump has none

    @property
    def size_bytes(self) -> int:
        if self.format == DIRECTORY:
            return sum(path.stat().st_size for path in self.file.iterdir())
        return self.file.stat().st_size

    @property
    def database_bytes(self) -> int:
        """Estimate how large the database will be."""
        return int(self.size_bytes * GROWTH[self.format])


def read(file: Path) -> Dump:
    """Examine a dump without restoring it. Raises CannotRehearse if it cannot be restored."""
    try:
        kind = _format(file)
    except OSError as error:
        raise CannotRehearse(
            f"{file} cannot be read: {error.strerror}.", cure="Give a file that pg_dump wrote."
        ) from error
    if kind == PLAIN:
        version, extensions = plain_dump.describe(file)
        return Dump(file, kind, version, extensions)
    listing = tools.run(tools.binaries("pg_restore") / "pg_restore", "--list", str(file))
    found = VERSION.search(listing.text)
    if listing.status or not found:
        message = " ".join(listing.errors).strip() or "it names no version"
        if "unsupported version" in message:
            raise CannotRehearse(
                f"{file} was made by a newer pg_dump than the pg_restore on this machine: {message}.",
                cure="Set COUNCIL_POSTGRES_BIN to the binaries of a PostgreSQL that is as new as that pg_dump.",
            )
        raise CannotRehearse(
            f"{file} is damaged or incomplete: {message}.", cure="Dump again, or copy the file again."
        )
    entries = tuple(line for line in listing.text.splitlines() if ENTRY.match(line))
    return Dump(file, kind, int(found[1]), tuple(_extensions(file, entries)), entries)


def _format(file: Path) -> str:
    if file.is_dir():
        if not (file / "toc.dat").exists():
            raise CannotRehearse(
                f"{file} is a folder without toc.dat, so it is not a dump.",
                cure="Give a file that pg_dump wrote.",
            )
        return DIRECTORY
    with file.open("rb") as opened:
        beginning = opened.read(512)
    if beginning.startswith(b"PGDMP"):
        return CUSTOM
    if beginning[257:262] == b"ustar" or beginning.startswith(b"toc.dat\0"):
        return TAR
    if b"PostgreSQL database dump" in beginning:
        return PLAIN
    if b"PostgreSQL database cluster dump" in beginning:
        raise CannotRehearse(
            f"{file} is a dump of a whole cluster, made by pg_dumpall.",
            cure="Dump only the one database, with pg_dump.",
        )
    what = "is empty" if not beginning else "was not written by pg_dump"
    raise CannotRehearse(
        f"{file} {what}.", cure="Give a dump in custom, directory, tar or plain format, not compressed again."
    )


def _extensions(file: Path, entries: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if any(" EXTENSION " in entry for entry in entries):
        script = tools.run(
            tools.binaries("pg_restore") / "pg_restore",
            "--schema-only",
            "--file=-",
            "--no-comments",
            str(file),
        )
        for name, schema in EXTENSION.findall(script.text):
            yield name, schema or "public"


def refuse_later_version(dump: Dump, server: int) -> None:
    """Raise CannotRehearse if a dump is of a later PostgreSQL than the server, which may not understand it."""
    if dump.version > server:
        raise CannotRehearse(
            f"{dump.file} was made from PostgreSQL {dump.version}, but the copy would run on {server}.",
            cure=f"Set COUNCIL_POSTGRES_BIN to the binaries of PostgreSQL {dump.version}, or use such a server (--on).",
        )


def restore(
    dump: Dump, database: DatabaseUrl, *, schema: str, folder: Path, advanced: Callable[[float], object]
) -> list[str]:
    """Restore a dump into a database, and return what was left out. Calls `advanced` with the share that is done.

    Raises CannotRehearse if the dump, or an essential part of its tables, cannot be restored.
    """
    left_out: list[str] = []
    with database.connect(application="council rehearsal") as session:
        if schema != "public":
            session.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
        left_out += _install(session, dump.extensions)
        if dump.format == PLAIN:
            return left_out + plain_dump.restore(dump.file, session, schema=schema, advanced=advanced)
    return left_out + _restore_archive(dump, database, schema=schema, folder=folder, advanced=advanced)


def _install(session: psycopg.Connection, extensions: tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Create the extensions that the server has, and yield a message for each of the others."""
    for name, schema in extensions:
        if name == "plpgsql":
            continue
        try:
            with suppress(psycopg.errors.DuplicateSchema):
                session.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            session.execute(
                sql.SQL("CREATE EXTENSION IF NOT EXISTS {} SCHEMA {} CASCADE").format(
                    sql.Identifier(name), sql.Identifier(schema)
                )
            )
        except psycopg.Error as error:
            yield f"extension {name}: {str(error).splitlines()[0]}"


def _restore_archive(
    dump: Dump, database: DatabaseUrl, *, schema: str, folder: Path, advanced: Callable[[float], object]
) -> list[str]:
    wanted = [
        entry
        for entry in dump.entries
        if (match := ENTRY.match(entry)) and match["schema"] == schema and match["type"] not in NOT_RESTORED
    ]
    if not any(" TABLE " in entry for entry in wanted):
        raise CannotRehearse(
            f"{dump.file} contains no table in the schema {schema}.",
            cure="Dump that schema, or name another one with --on …?schema=NAME.",
        )
    contents = folder / "contents"
    contents.write_text("\n".join([*wanted, ""]))
    jobs = 1 if dump.format == TAR else JOBS
    finished = 0

    def heard(line: str) -> None:
        nonlocal finished
        if (": finished item " if jobs > 1 else ": creating ") in line:
            finished += 1
            advanced(min(finished / len(wanted), 1.0))

    output = tools.run(
        tools.binaries("pg_restore") / "pg_restore",
        "--no-owner",
        "--no-privileges",
        "--verbose",
        f"--jobs={jobs}",
        f"--use-list={contents}",
        f"--dbname={database.without_password}",
        str(dump.file),
        environment=database.environment,
        heard=heard,
    )
    failed = list(_failed(output.errors))
    fatal = next((message for kind, message in failed if kind in ESSENTIAL), "")
    # pg_restore continues when the server refuses a statement, and counts these errors in its last line.
    if output.status and not any("errors ignored on restore" in line for line in output.errors):
        passed_over = ("could not execute query", "worker process")
        said = (
            line
            for line in output.errors
            if "error:" in line and not any(text in line for text in passed_over)
        )
        fatal = next(said, "pg_restore gave no error message")
    if fatal:
        raise CannotRehearse(
            f"{dump.file} cannot be restored: {fatal.partition('error: ')[2] or fatal}",
            cure="If the file is incomplete, copy or dump it again. If something is missing on the server, use another "
            "server with --on.",
        )
    return [message for _, message in failed]


def _failed(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the kind of each entry that failed, with the server's message."""
    kind = name = ""
    for line in lines:
        if match := FAILED_ENTRY.search(line):
            kind, name = match["type"], match["name"]
        elif "error: could not execute query" in line or "error: COPY failed" in line:
            yield kind, f"{kind.lower()} {name}: {line.partition('ERROR:')[2].strip() or line}"
