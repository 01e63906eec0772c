"""Django's own tests pass with council.postgres, because it changes nothing for apps that do not ask for it."""

import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from tests.others import django_tests, packages

# Tests that fail with our backend and not with Django's, each with its reason. There is none.
KNOWN: dict[str, str] = {}


@pytest.mark.django_db
def test_django_s_own_tests_pass() -> None:
    with connection.cursor() as cursor:
        cursor.execute(django_tests.EXTENSIONS)
        if cursor.fetchone() != (3,):
            pytest.skip("the server has no extensions; the run on Debian's PostgreSQL 15 covers it")
    given = connection.get_connection_params()
    server = make_conninfo(
        **{name: given[name] for name in ("host", "port", "user", "password") if given.get(name)}
    )
    try:
        outcome = django_tests.run(django_tests.OURS, server=server, processes=2)
    except packages.Unreachable as error:
        pytest.skip(str(error))

    assert outcome.failed == KNOWN.keys(), outcome.output[-5000:]
    assert outcome.status == bool(KNOWN), outcome.output[-5000:]
    assert outcome.ran > 2_500
