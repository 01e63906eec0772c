"""The database's functions for points."""

from importlib import import_module

import pytest

from gamification import functions

# For each function, the newest migration that installs it.
INSTALLED = {
    "NEXT_WEEKDAY": import_module("gamification.migrations.0022_replace_function_next_weekday"),
    "POINTS_BY_LEDGER": import_module("gamification.migrations.0034_replace_function_points_by_ledger"),
}


@pytest.mark.parametrize("name", INSTALLED)
def test_migrations_install_the_function_as_defined(name: str) -> None:
    assert getattr(functions, name).definition == getattr(INSTALLED[name], name)
