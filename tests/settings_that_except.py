"""The project's settings, with an app whose tables stay open to the data API."""

from council.settings import *  # noqa: F403

ROW_LEVEL_SECURITY_EXCEPT_APPS = ["sessions"]
