"""The database's functions of points."""

from importlib import import_module

import pytest

from gamification import functions

# By the function, the newest migration that installs it.
INSTALLED = {
    "NEXT_WEEKDAY": import_module("gamification.migrations.0022_replace_function_next_weekday"),
    "POINTS_BY_LEDGER": import_module("gamification.migrations.0034_replace_function_points_by_ledger"),
}


@pytest.mark.parametrize("name", INSTALLED)
def test_the_function_that_migrations_install_is_the_one_that_is_written_down(name: str) -> None:
    assert getattr(functions, name).definition == getattr(INSTALLED[name], name)
