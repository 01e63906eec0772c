import pytest
from django.db import connection

from council.postgres import volatility
from tests import write_volatility

NEWEST = 180000


@pytest.mark.django_db
def test_the_committed_list_matches_the_server() -> None:
    with connection.cursor() as cursor:
        cursor.execute(write_volatility.QUERY)
        found = dict(cursor.fetchall())
        version = connection.cursor().connection.info.server_version
    committed = volatility.own()
    if version >= NEWEST:
        assert committed == found
    # An older server has fewer functions, and none that is more volatile than in the list.
    assert {name for name, letter in found.items() if committed.get(name, "v") < letter} == set()
    assert len(found.keys() & committed.keys()) > 1700


def test_an_unknown_function_may_be_volatile() -> None:
    known = volatility.own()
    called = ["now", "lower", "jsonb_build_object", "random", "gen_random_uuid", "nextval", "somebody_s"]
    assert [volatility.is_volatile(name, known) for name in called] == [False] * 3 + [True] * 4
