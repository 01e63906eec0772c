"""The project with one more app, whose migrations do what no migration should. Each can be rehearsed separately."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.harmful"]
