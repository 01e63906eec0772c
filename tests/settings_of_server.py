"""Settings of the server for browser tests: those of production, without TLS and without collected files."""

from council import settings as production
from council.settings import *  # noqa: F403
from council.settings import BASE_DIR

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["127.0.0.1"]
SECURE_SSL_REDIRECT = False
SECURE_HSTS_SECONDS = 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = False
SESSION_COOKIE_NAME = "session"
CSRF_COOKIE_NAME = "csrf"
KNOWN_BROWSER_COOKIE_NAME = "known"
STATIC_ROOT = None
WHITENOISE_USE_FINDERS = True
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    # The bucket, if the environment names one.
    "library": production.STORAGES.get(
        "library",
        {"BACKEND": "resources.storage.Folder", "OPTIONS": {"location": BASE_DIR / "build" / "library"}},
    ),
}
