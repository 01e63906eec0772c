"""The project with one more app, whose migrations were written without knowledge of ours."""

from council.settings import *  # noqa: F403
from council.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.third_party"]
