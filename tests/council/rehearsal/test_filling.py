"""Rows are filled in with triggers and indexes off, which are all restored afterwards."""

import pytest

from council.rehearsal import filling
from tests.council.rehearsal.rehearsing import fill
from tests.databases import Database, migrate

pytestmark = pytest.mark.any_server


def test_all_indexes_are_restored_and_progress_reaches_its_end(database: Database) -> None:
    with database.as_django_connection():
        migrate("council", "0001")
    schema = database.catalog()

    told = fill(database, 3_000)

    assert database.catalog() == schema
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 10


OWN_ALL = """
DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT quote_ident(relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
  LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO "{role}"', name);
  END LOOP;
END $$;
"""


def test_a_role_that_may_not_disable_triggers_can_fill_too(database: Database) -> None:
    role = f"{database.name}_owner"
    with database.as_django_connection():
        migrate("gamification", "0005")
    database.execute(
        f'CREATE ROLE "{role}" LOGIN; GRANT ALL ON SCHEMA public TO "{role}";' + OWN_ALL.format(role=role)
    )
    try:
        with database.connect(user=role) as session:
            filling.fill(session, members=200, advanced=lambda share: None)
        assert database.fetch('SELECT sum("totalPoints") FROM "Member"') == database.fetch(
            'SELECT sum(points) FROM "PointTransaction"'
        )
    finally:
        database.execute(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"')
