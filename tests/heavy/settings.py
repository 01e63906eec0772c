"""The project with one more app, whose migrations are harmless on a small table and not on a large one."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.heavy"]
