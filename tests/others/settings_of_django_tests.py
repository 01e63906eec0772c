"""Settings for Django's own tests: two databases on one server, with the backend that the environment names."""

import os

from psycopg.conninfo import conninfo_to_dict

given = conninfo_to_dict(os.environ["SERVER_URL"])
server = {
    "ENGINE": os.environ["ENGINE"],
    "HOST": given["host"],
    "PORT": given.get("port", "5432"),
    "USER": given["user"],
    "PASSWORD": given.get("password", ""),
}
DATABASES = {
    alias: {**server, "NAME": "postgres", "TEST": {"NAME": f"django_{alias}_{os.getpid()}"}}
    for alias in ("default", "other")
}
SECRET_KEY = "for tests only"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
USE_TZ = False
