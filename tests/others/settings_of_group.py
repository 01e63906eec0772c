"""Settings of a project with one group of other people's apps, with the backend that the environment names."""

import os

from psycopg.conninfo import conninfo_to_dict

from tests.others.groups import GROUPS, MIDDLEWARE  # noqa: F401  # a setting

group = GROUPS[os.environ["GROUP"]]
given = conninfo_to_dict(os.environ["DATABASE_URL"])
DATABASES = {
    "default": {
        "ENGINE": os.environ["ENGINE"],
        "NAME": given["dbname"],
        "USER": given["user"],
        "HOST": given["host"],
        "PORT": given.get("port", "5432"),
    }
}
DATABASE_NAME = given["dbname"]
DIRECT_DATABASE = None
ACCEPTED_MIGRATION_RISKS: dict[str, dict[str, str]] = {}
ROW_LEVEL_SECURITY_EXCEPT_APPS: list[str] = []
MIGRATE_IN_STEPS = ["all"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    *group.apps,
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
SECRET_KEY = "for tests only"
ROOT_URLCONF = "tests.others.urls"
STATIC_URL = "static/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
SILENCED_SYSTEM_CHECKS: list[str] = []
if os.environ["GROUP"] == "oscar":
    from oscar import INSTALLED_APPS as OSCAR_S  # type: ignore[import-not-found]
    from oscar.defaults import *  # type: ignore[import-not-found]  # noqa: F403

    INSTALLED_APPS = [*dict.fromkeys([*INSTALLED_APPS, *OSCAR_S])]
globals().update(group.settings)
