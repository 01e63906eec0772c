"""Other people's migrations give the same catalogue as with Django. `tests.performance.groups` tries all groups."""

from collections.abc import Callable

import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from tests.others import comparison, packages
from tests.others.groups import GROUPS

pytestmark = pytest.mark.any_server


@pytest.mark.django_db
@pytest.mark.parametrize("group", ["celery-beat", "q2"])
def test_a_group_gives_the_same_catalogue_as_with_django(
    group: str, database_name: Callable[[str], str]
) -> None:
    """These groups alter referenced keys, unique_together, and indexes whose names they look up."""
    given = connection.get_connection_params()
    server = make_conninfo(
        **{name: given[name] for name in ("host", "port", "user", "password") if given.get(name)}
    )
    try:
        folder = packages.installed("two-groups", [*GROUPS["celery-beat"].packages, *GROUPS["q2"].packages])
    except packages.Unreachable as error:
        pytest.skip(str(error))

    place = comparison.Place(server, folder)
    compared = comparison.compare(place, group, database=database_name(group), beginnings=(0, 60))

    assert compared.differences == []
    assert compared.plan["unplanned"] == []
