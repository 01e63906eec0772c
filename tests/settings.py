"""Settings of the test suite: the project's own, with a private server that is fast but not durable.

`COUNCIL_POSTGRES_BIN=/usr/lib/postgresql/15/bin` runs the suite on the PostgreSQL in that folder.
"""

from dataclasses import replace

from council.settings import *  # noqa: F403
from council.settings import BASE_DIR, DATABASES, EMBEDDED_SERVER

if EMBEDDED_SERVER:
    EMBEDDED_SERVER = replace(
        EMBEDDED_SERVER,
        folder=EMBEDDED_SERVER.folder / "tests",
        options={
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "300",
            "max_prepared_transactions": "20",
        },
    )
    DATABASES["default"]["EMBEDDED_SERVER"] = EMBEDDED_SERVER

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SECRET_KEY = "for tests only"
DEBUG = False
SECURE_SSL_REDIRECT = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    "library": {
        "BACKEND": "resources.storage.Folder",
        "OPTIONS": {"location": BASE_DIR / "build" / "library"},
    },
}
