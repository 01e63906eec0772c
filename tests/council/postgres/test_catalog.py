"""Queries of PostgreSQL's catalogue."""

import pytest
from django.db import connection

from council.postgres import catalog


@pytest.mark.django_db
def test_a_query_is_not_compiled_and_does_not_change_the_session() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = on")

        answer = catalog.ask(connection, "SELECT current_setting('jit'), current_setting('search_path')", {})

        cursor.execute("SELECT current_setting('jit'), current_setting('search_path')")
        assert answer == [("off", "pg_catalog, pg_temp")]
        assert cursor.fetchone() == ("on", '"$user", public')
