"""Dumps in plain format: a script for psql, split at pg_dump's headings, and restored without psql."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import psycopg
from pglast import parser

from council.rehearsal.errors import CannotRehearse

VERSION = re.compile(rb"^-- Dumped from database version (\d+)", re.MULTILINE)
ENCODING = re.compile(rb"^SET client_encoding = '(\w+)';", re.MULTILINE)
HEADING = re.compile(
    rb"-- (?:Data for )?Name: (?P<name>.*); Type: (?P<type>.*?); Schema: (?P<schema>.*?); Owner:"
)
EXTENSION = re.compile(rb'CREATE EXTENSION (?:IF NOT EXISTS )?"?([\w-]+)"?(?: WITH SCHEMA "?([\w-]+)"?)?;')
COPY = re.compile(rb"COPY .* FROM stdin;$")
# Commands for psql, and statements that --no-owner would have left out.
SKIPPED = re.compile(rb"\\(?:un)?restrict |\\connect |ALTER .* OWNER TO |SET default_tablespace ")
LAST_LINE = b"PostgreSQL database dump complete"
END_OF_ROWS = b"\\.\n"
# Entries that name roles or concern replication, or that are not needed. Extensions are created separately.
NOT_RESTORED = {
    "ACL", "DEFAULT ACL", "POLICY", "COMMENT", "SECURITY LABEL", "EXTENSION", "SCHEMA", "EVENT TRIGGER",
    "PUBLICATION TABLE", "PUBLICATION TABLES IN SCHEMA", "SUBSCRIPTION TABLE",
}  # fmt: skip
# If one of these cannot be restored, the copy differs too much from the source.
ESSENTIAL = {"TABLE", "TABLE DATA", "TYPE", "SEQUENCE", "INDEX", "CONSTRAINT", "DEFAULT"}
BLOCK_BYTES = 64 << 20
CHUNK_BYTES = 1 << 16
TAIL_BYTES = 4096
SETTINGS = """
    SET check_function_bodies = off; SET client_min_messages = warning; SET row_security = off;
    SET synchronous_commit = off; SELECT set_config('search_path', '', false)
"""


class Part(NamedTuple):
    """The content of a heading, which describes the lines below it."""

    kind: str
    schema: str
    name: str

    def is_wanted(self, schema: str) -> bool:
        return self.schema == schema and self.kind not in NOT_RESTORED


def describe(file: Path) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Return the version of the server that was dumped, and its extensions. Raises CannotRehearse."""
    with file.open("rb") as dump:
        head = dump.read(TAIL_BYTES)
        dump.seek(max(0, file.stat().st_size - TAIL_BYTES))
        tail = dump.read()
        found = VERSION.search(head)
        if not found:
            raise CannotRehearse(
                f"{file} does not say which PostgreSQL it was made from.", cure="Dump again, with pg_dump."
            )
        if LAST_LINE not in tail:
            raise CannotRehearse(
                f"{file} is incomplete: the last line that pg_dump writes is missing.",
                cure="Dump again, or copy the file again.",
            )
        dump.seek(0)
        extensions: list[tuple[str, str]] = []
        for line in dump:
            if line.startswith(b"CREATE TABLE "):
                break  # extensions come first
            if match := EXTENSION.match(line):
                extensions.append((match[1].decode(), (match[2] or b"public").decode()))
    return int(found[1]), tuple(extensions)


def restore(
    file: Path, session: psycopg.Connection, *, schema: str, advanced: Callable[[float], object]
) -> list[str]:
    """Restore a schema, and return what the server refused. Raises CannotRehearse if that was essential."""
    left_out: list[str] = []
    size = max(file.stat().st_size, 1)
    tables = 0
    session.execute(SETTINGS)
    with file.open("rb") as dump:
        if encoding := ENCODING.search(dump.read(TAIL_BYTES)):
            session.execute(b"SET client_encoding = '%s'" % encoding[1])
        dump.seek(0)
        part, statements = Part("", "", ""), b""
        while line := dump.readline():
            if (match := HEADING.match(line)) and _is_complete(statements):
                left_out += _execute(session, part, statements, file)
                part = Part(match["type"].decode(), match["schema"].decode(), match["name"].decode())
                statements = b""
                tables += part.kind == "TABLE" and part.schema == schema
                advanced(dump.tell() / size)
            elif part.kind == "TABLE DATA" and COPY.match(line):
                _copy(session, line, dump, file, is_wanted=part.is_wanted(schema))
                advanced(dump.tell() / size)
            elif part.is_wanted(schema) and not SKIPPED.match(line):
                statements += line
                if len(statements) > BLOCK_BYTES:
                    raise CannotRehearse(
                        f"{file} contains rows as INSERT statements.", cure="Dump again without --inserts."
                    )
        left_out += _execute(session, part, statements, file)
    if not tables:
        raise CannotRehearse(
            f"{file} contains no table in the schema {schema}.",
            cure="Dump that schema, or name another one with --on …?schema=NAME.",
        )
    return left_out


def _is_complete(statements: bytes) -> bool:
    """Return whether all quotes are closed: a line in a function's body may look like a heading."""
    try:
        parser.scan(statements.decode(errors="replace"))
    except parser.ParseError:
        return False
    return True


def _execute(session: psycopg.Connection, part: Part, statements: bytes, file: Path) -> list[str]:
    """Send a part's statements in one transaction. Return the server's error if the part is not essential."""
    if not statements.strip():
        return []
    try:
        session.execute(statements)
    except psycopg.OperationalError as error:
        raise _refused(file, part, error) from error
    except psycopg.Error as error:
        if part.kind in ESSENTIAL:
            raise _refused(file, part, error) from error
        return [f"{part.kind.lower()} {part.name}: {str(error).splitlines()[0]}"]
    return []


def _copy(
    session: psycopg.Connection, command: bytes, dump: BinaryIO, file: Path, *, is_wanted: bool
) -> None:
    """Send a table's rows, up to the line that ends them, or skip them if they are not wanted."""
    rows = _rows(dump, file)
    if not is_wanted:
        for _ in rows:
            pass
        return
    try:
        with session.cursor().copy(command) as copy:
            for chunk in rows:
                copy.write(chunk)
    except psycopg.Error as error:
        raise _refused(
            file, Part("TABLE DATA", "", command.decode(errors="replace").strip()), error
        ) from error


def _rows(dump: BinaryIO, file: Path) -> Iterator[bytes]:
    chunk: list[bytes] = []
    length = 0
    while (line := dump.readline()) != END_OF_ROWS:
        if not line:
            raise CannotRehearse(
                f"{file} ends in the middle of a table's rows.", cure="Dump again, or copy the file again."
            )
        chunk.append(line)
        length += len(line)
        if length > CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, length = [], 0
    yield b"".join(chunk)


def _refused(file: Path, part: Part, error: psycopg.Error) -> CannotRehearse:
    return CannotRehearse(
        f"{file} cannot be restored: {part.kind.lower()} {part.name}: {str(error).splitlines()[0]}",
        cure="If something is missing on the server, use a database on another server with --on.",
    )
