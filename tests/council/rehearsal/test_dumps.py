"""Restoring dumps of each format: what is restored, and what is left out and reported."""

from pathlib import Path

import pytest

from council.rehearsal import dumps
from council.rehearsal.database_url import DatabaseUrl
from tests.council.rehearsal.rehearsing import dump
from tests.databases import Database

# Objects that a throw-away server lacks, or that migrations do not concern.
BEYOND = """
CREATE SCHEMA auth; CREATE TABLE auth.users (id integer PRIMARY KEY); INSERT INTO auth.users VALUES (1);
CREATE FUNCTION public.uses_auth() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
--
-- Name: no heading; Type: TABLE; Schema: public; Owner: -
--
  RETURN NEW;
END $$;
ALTER TABLE "Team" ADD CONSTRAINT beyond FOREIGN KEY (number) REFERENCES auth.users (id);
CREATE VIEW public.with_auth AS SELECT "Team".id FROM "Team" JOIN auth.users ON users.id = number;
ALTER TABLE "Member" ENABLE ROW LEVEL SECURITY;
CREATE POLICY theirs ON "Member" TO "{role}" USING (true);
GRANT SELECT ON "Member" TO "{role}";
CREATE PUBLICATION theirs FOR TABLE "Member";
COMMENT ON TABLE "Member" IS 'a comment';
"""
ODD_ROWS = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt")
VALUES ('odd', E'a tab\\t, a line\\n, \\\\. and ünïcödé', 'cus_odd', now());
"""


@pytest.fixture
def source(gateway: Database) -> Database:
    gateway.execute('ALTER TABLE "Team" ADD number integer;' + ODD_ROWS)
    return gateway


def restored(file: Path, place: Database, folder: Path) -> list[str]:
    heard: list[float] = []
    left_out = dumps.restore(
        dumps.read(file),
        DatabaseUrl(place.url, "--on"),
        schema="public",
        folder=folder,
        advanced=heard.append,
    )
    assert heard
    assert max(heard) <= 1.0
    return left_out


@pytest.mark.parametrize("kind", ["custom", "directory", "tar", "plain"])
def test_a_dump_in_any_format_is_restored_completely(
    source: Database, place: Database, tmp_path: Path, kind: str
) -> None:
    file = dump(source, tmp_path / "dump", f"--format={kind}")
    (tmp_path / "folder").mkdir()

    assert restored(file, place, tmp_path / "folder") == []

    assert place.catalog() == source.catalog()
    for table in ("Team", "Member"):
        rows = f'SELECT * FROM "{table}" ORDER BY id'
        assert place.fetch(rows) == source.fetch(rows)


@pytest.mark.parametrize("kind", ["custom", "plain"])
def test_objects_of_other_schemas_and_roles_are_left_out(
    source: Database, place: Database, tmp_path: Path, kind: str
) -> None:
    """As with a dump from Supabase, the tables are restored, and everything left out is reported."""
    role = f"{source.name}_{kind}"
    source.execute(f'CREATE ROLE "{role}"')
    try:
        source.execute(BEYOND.format(role=role))
        file = dump(source, tmp_path / "dump", f"--format={kind}")
    finally:
        source.execute(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')

    left_out = restored(file, place, tmp_path)

    assert len(left_out) == 2
    assert any("fk constraint" in words and 'schema "auth" does not exist' in words for words in left_out)
    assert any("with_auth" in words for words in left_out)
    assert place.fetch('SELECT count(*) FROM "Member"') == [(500,)]
    assert place.fetch("SELECT count(*) FROM pg_policy") == [(0,)]
    assert place.fetch("SELECT count(*) FROM pg_publication") == [(0,)]
    assert place.fetch("SELECT count(*) FROM pg_proc WHERE proname = 'uses_auth'") == [(1,)]
    assert place.fetch("SELECT relrowsecurity FROM pg_class WHERE relname = 'Member'") == [(True,)]
    assert place.fetch("SELECT to_regnamespace('auth')") == [(None,)]


def test_an_extension_that_the_server_lacks_is_named(place: Database, tmp_path: Path) -> None:
    found = dumps.Dump(
        tmp_path / "none", dumps.PLAIN, 15, (("supabase_vault", "vault"), ("plpgsql", "pg_catalog"))
    )
    with DatabaseUrl(place.url, "--on").connect(application="test") as session:
        left_out = list(dumps._install(session, found.extensions))

    assert len(left_out) == 1
    assert left_out[0].startswith("extension supabase_vault: ")


def test_extensions_are_read_from_a_plain_dump(source: Database, tmp_path: Path) -> None:
    file = dump(source, tmp_path / "dump", "--format=plain")
    text = file.read_text()
    heading = "CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA extensions;\nCREATE TYPE"
    file.write_text(text.replace("CREATE TYPE", heading, 1))

    assert dumps.read(file).extensions == (("citext", "extensions"),)
