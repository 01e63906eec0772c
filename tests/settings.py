"""Settings of the test suite: the project's own, on a private server that trades durability for speed.

`COUNCIL_POSTGRES_BIN=/usr/lib/postgresql/15/bin` runs the suite on the PostgreSQL whose binaries are there.
"""

import os
from pathlib import Path

from council.postgres import embedded
from council.settings import *  # noqa: F403
from council.settings import BASE_DIR, DATABASES, EMBEDDED_SERVER

if EMBEDDED_SERVER:
    EMBEDDED_SERVER = embedded.Server(
        folder=BASE_DIR / ".postgres" / "tests",
        binaries=Path(os.environ["COUNCIL_POSTGRES_BIN"]) if "COUNCIL_POSTGRES_BIN" in os.environ else None,
        options={"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "300"},
    )
    DATABASES["default"]["EMBEDDED_SERVER"] = EMBEDDED_SERVER

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SECRET_KEY = "for tests only"
DEBUG = False
SECURE_SSL_REDIRECT = False
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
