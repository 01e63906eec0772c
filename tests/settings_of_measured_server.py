"""Settings of the server that is measured: those of production, without collected files."""

from council.settings import *  # noqa: F403

ROOT_URLCONF = "tests.performance.one_row"
STAFF_SECOND_FACTOR = False
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
