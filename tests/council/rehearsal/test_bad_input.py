"""Invalid input: a message with a cure, exit status 2, and no change anywhere."""

import io
import os
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from psycopg import sql

from council.rehearsal.errors import CannotRehearse
from tests.council.rehearsal.rehearsing import THINGS, dump, nothing_left, rehearse, unchanged
from tests.databases import Database, execute_on_server
from tests.pgbouncer import PROGRAM, pgbouncer

pytestmark = pytest.mark.any_server

SPARSE_BYTES = 1 << 40

# pg_restore reads tables in parallel. It may find the file's end within a table's rows, or look for a table after it.
CUT_SHORT = "short cannot be restored: could not "


def refused(*arguments: str | Path, words: str) -> str:
    """Run the command in this process. It must refuse. Returns its message."""
    with pytest.raises(CommandError) as refusal:
        call_command("rehearse", *map(str, arguments), stderr=io.StringIO())
    assert words in str(refusal.value)
    if isinstance(refusal.value, CannotRehearse):
        assert refusal.value.returncode == 2
        assert len(str(refusal.value).splitlines()) >= 2, "a fault, and a cure"
    return str(refusal.value)


@pytest.fixture
def dumped(gateway: Database, tmp_path: Path) -> Path:
    return dump(gateway, tmp_path / "gateway.dump", "--format=custom")


# Arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "one of the arguments --from-dump --from-url --members is required"),
        (["--members", "10", "--from-dump", "x"], "not allowed with"),
        (["--members", "many"], "'many' is not a number of members. Write it as 1_000_000."),
        (["--members", "0"], "'0' is not a number of members"),
        (
            ["--members", "10", "--scale", "0"],
            "'0' is not a scale. Write a number from 0.0001 to 10, such as 0.1",
        ),
        (["--members", "10", "--max-wait", "soon"], "'soon' is not a duration. Write it as 100ms"),
        (["--members", "10", "--rate", "0"], "'0' is not a rate"),
        (["--members", "10", "--clients", "900"], "'900' is not a number of clients"),
        (
            ["--members", "10", "--from-state", "council.9999"],
            "--from-state is 'council.9999', which is not a migration.",
        ),
        (
            ["--members", "10", "--from-state", "nonsense"],
            "--from-state is 'nonsense', which is not a migration.",
        ),
        (["--members", "10", "--html", "/nowhere/page.html"], "/nowhere/page.html cannot be written."),
        (["--members", "10", "--folder", "/nowhere"], "No folder can be created in /nowhere: No such file"),
        (
            ["--from-dump", "x", "--scale", "0.1"],
            "--scale works only with --members. A part of a real database would not be realistic",
        ),
        (["--from-dump", "x", "--from-state", "v1"], "--from-state works only with --members"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_invalid_arguments_are_refused(arguments: list[str], words: str) -> None:
    refused(*arguments, words=words)


def test_a_refusal_has_another_exit_status_than_a_failed_rehearsal(tmp_path: Path) -> None:
    result = rehearse("--from-dump", tmp_path / "nothing")

    assert result.returncode == 2
    assert result.stdout == ""
    assert "cannot be read: No such file or directory.\nGive a file that pg_dump wrote." in result.stderr


# Dumps


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty."),
        (b"SELECT 1;\n", "was not written by pg_dump."),
        (b"\x1f\x8b packed", "was not written by pg_dump."),
        (
            b"--\n-- PostgreSQL database cluster dump\n--\n",
            "is a dump of a whole cluster, made by pg_dumpall.",
        ),
        (b"PGDMP\x01\x7f\x00\x04\x08\x01", "was made by a newer pg_dump than the pg_restore on this machine"),
        (b"PGDMP\x01\x0e", "is damaged or incomplete"),
        (
            b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE",
            "does not say which PostgreSQL it was made from",
        ),
    ],
    ids=["empty", "SQL", "packed", "cluster", "later pg_dump", "header only", "no version"],
)
def test_a_file_that_is_not_a_dump_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)

    refused("--from-dump", file, words=words)


def test_a_missing_file_and_a_folder_that_is_not_a_dump_are_refused(tmp_path: Path) -> None:
    refused("--from-dump", tmp_path / "nothing", words="nothing cannot be read: No such file or directory.")
    refused("--from-dump", tmp_path, words="is a folder without toc.dat, so it is not a dump.")


@pytest.mark.parametrize("kind", ["custom", "plain"])
def test_a_dump_of_a_later_postgresql_is_refused(
    dumped: Path, gateway: Database, tmp_path: Path, kind: str
) -> None:
    if kind == "plain":
        dump(gateway, dumped, "--format=plain")
    with psycopg.connect(gateway.url) as session:
        version = str(session.info.parameter_status("server_version")).split()[0].encode()
    later = b"99" + version[2:]
    dumped.write_bytes(dumped.read_bytes().replace(version, later))

    refused("--from-dump", dumped, words="was made from PostgreSQL 99, but the copy would run on ")


@pytest.mark.parametrize("kind", ["custom", "plain"])
def test_an_incomplete_dump_is_refused_and_the_copy_removed(
    gateway: Database, place: Database, tmp_path: Path, kind: str
) -> None:
    whole = dump(gateway, tmp_path / "whole", f"--format={kind}", "--compress=0").read_bytes()
    short = tmp_path / "short"
    short.write_bytes(whole[: whole.rindex(b"m400@example.com")])

    refused(
        "--from-dump",
        short,
        "--on",
        place.url,
        words="short is incomplete" if kind == "plain" else CUT_SHORT,
    )

    assert place.fetch(THINGS) == [(0,)]


def test_an_incomplete_dump_is_refused_even_if_the_server_refuses_other_parts(
    gateway: Database, place: Database, tmp_path: Path
) -> None:
    """Objects that the server refuses are left out, but missing data is an error."""
    gateway.execute(
        "CREATE SCHEMA auth; CREATE TABLE auth.users (id text); CREATE VIEW seen AS SELECT * FROM auth.users"
    )
    whole = dump(gateway, tmp_path / "whole", "--format=custom", "--compress=0").read_bytes()
    (tmp_path / "short").write_bytes(whole[: whole.rindex(b"m400@example.com")])

    refused("--from-dump", tmp_path / "short", "--on", place.url, words=CUT_SHORT)

    assert place.fetch(THINGS) == [(0,)]


def test_a_plain_dump_that_ends_within_rows_is_refused(
    gateway: Database, place: Database, tmp_path: Path
) -> None:
    whole = dump(gateway, tmp_path / "whole", "--format=plain").read_bytes()
    cut = whole[: whole.rindex(b"m400@example.com")] + b"\n-- PostgreSQL database dump complete\n"
    (tmp_path / "cut").write_bytes(cut)

    refused(
        "--from-dump", tmp_path / "cut", "--on", place.url, words="cut ends in the middle of a table's rows."
    )

    assert place.fetch(THINGS) == [(0,)]


def test_a_dump_without_the_application_s_schema_is_refused(
    database: Database, place: Database, tmp_path: Path
) -> None:
    database.execute("CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.thing (id integer)")
    for kind in ("custom", "plain"):
        file = dump(database, tmp_path / kind, f"--format={kind}")
        refused("--from-dump", file, "--on", place.url, words="contains no table in the schema public.")
    assert place.fetch(THINGS) == [(0,)]


def test_a_lack_of_space_is_reported_at_the_beginning_with_the_estimate(tmp_path: Path, folder: Path) -> None:
    huge = tmp_path / "huge"
    huge.write_bytes(b"--\n-- PostgreSQL database dump\n--\n\n-- Dumped from database version 15.1\n")
    os.truncate(huge, SPARSE_BYTES)
    with huge.open("ab") as file:
        file.write(b"-- PostgreSQL database dump complete\n")
    # Reading as far as the tables would take an hour.
    with huge.open("r+b") as file:
        file.seek(100)
        file.write(b"\nCREATE TABLE public.thing (id integer);\n")

    with nothing_left(folder):
        words = refused("--from-dump", huge, "--folder", folder, words="The copy needs about 6.0 TB, but ")
        assert " GB free. Nothing was changed." in words
        refused(
            "--members",
            "1_000_000_000_000",
            "--folder",
            folder,
            words="The copy needs about 2,000.9 TB, but ",
        )


# Sources


def test_an_unreachable_source_is_reported_without_its_password(gateway: Database) -> None:
    url = "postgresql://somebody:sesame@127.0.0.1:1/gateway"
    words = refused(
        "--from-url", url, words="--from-url (database gateway at 127.0.0.1, port 1) cannot be reached"
    )
    assert "Check host and port" in words
    assert "sesame" not in words
    refused("--from-url", "mysql://x", words="--from-url is not a PostgreSQL URL.")


def test_a_source_without_rights_is_refused_with_the_missing_grants(gateway: Database) -> None:
    role = f"{gateway.name}_reader"
    execute_on_server(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
    url = gateway.url.replace("postgres@", f"{role}@", 1)
    try:
        with unchanged(gateway):
            words = refused("--from-url", url, words=f'{role} may not read "Admin", "AuditLog"')
            assert f'GRANT USAGE ON SCHEMA "public" TO "{role}"' in words
        gateway.execute(
            f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"; ALTER TABLE "Team" ENABLE ROW LEVEL SECURITY'
        )
        refused("--from-url", url, words=f'Row level security hides rows of "Team" from {role}')
    finally:
        gateway.execute(f'DROP OWNED BY "{role}"')
        execute_on_server(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_a_source_without_tables_is_refused(database: Database) -> None:
    refused("--from-url", database.url, words="contains no table in the schema public.")
    refused("--from-url", f"{database.url}&schema=other", words="contains no table in the schema other.")


@pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed")
def test_a_transaction_pooler_is_refused_as_source_and_as_target(gateway: Database, place: Database) -> None:
    with pgbouncer(gateway, mode="transaction") as url:
        refused("--from-url", url, words="--from-url connects to a transaction pooler")
    with pgbouncer(place, mode="transaction") as url:
        refused("--members", "10", "--on", url, words="--on connects to a transaction pooler")


# Targets


def test_a_target_without_rehearsal_in_its_name_is_refused(gateway: Database) -> None:
    with unchanged(gateway):
        words = refused(
            "--members",
            "10",
            "--on",
            gateway.url,
            words="so its name must contain 'rehearsal'.",
        )
    assert "CREATE DATABASE council_rehearsal" in words


def test_a_target_that_is_not_empty_is_refused(gateway: Database, place: Database) -> None:
    for thing, named in {
        "CREATE TABLE theirs (id integer)": "table public.theirs",
        "CREATE FUNCTION theirs() RETURNS integer LANGUAGE sql RETURN 1": "function public.theirs()",
        "CREATE TYPE theirs AS ENUM ('a')": "type public.theirs",
        "CREATE SCHEMA aside; CREATE VIEW aside.theirs AS SELECT 1": "view aside.theirs",
    }.items():
        place.execute(thing)
        words = refused("--from-url", gateway.url, "--on", place.url, words=f"is not empty: {named}.")
        assert "Nothing was changed in this one." in words
        place.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    assert place.fetch("SELECT count(*) FROM aside.theirs") == [(1,)]


def test_a_target_that_is_the_source_is_refused_for_any_spelling(place: Database) -> None:
    place.execute('CREATE TABLE "Member" (id text)')
    same = place.url.replace("postgresql://", "postgres://").replace("&port=5432", "")
    assert same != place.url

    refused("--from-url", place.url, "--on", same, words="is the database that --from-url reads.")


def test_a_target_that_takes_no_writes_is_refused(place: Database) -> None:
    place.execute(f'ALTER DATABASE "{place.name}" SET default_transaction_read_only = on')

    refused("--members", "10", "--on", place.url, words="accepts no writes.")


def test_urls_of_different_schemas_are_refused(gateway: Database, place: Database) -> None:
    words = "The URLs name different schemas: --from-url public, --on other."
    refused("--from-url", gateway.url, "--on", f"{place.url}&schema=other", words=words)


def test_two_rehearsals_do_not_share_a_target(place: Database) -> None:
    with place.connect() as session:
        session.execute("SELECT pg_advisory_lock(hashtext('council rehearsal'))")

        refused("--members", "10", "--on", place.url, words="Another rehearsal is running in --on")


# Programs


def test_a_folder_without_the_programs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNCIL_POSTGRES_BIN", str(tmp_path))

    refused("--members", "10", words="which does not contain postgres and initdb.")
