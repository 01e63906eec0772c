"""The project with one more app, whose migrations are as Django's makemigrations writes them."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.plain"]
