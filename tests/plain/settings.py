"""The project with one more app: somebody else's, whose migrations are as Django writes them."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.plain"]
