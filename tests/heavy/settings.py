"""The project with one more app, whose migrations are harmless on small tables but not on large ones."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.heavy"]
