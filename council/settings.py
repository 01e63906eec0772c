"""Settings, read from the environment. docs/settings.md lists the variables."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from council import logs
from council.postgres import embedded, urls

BASE_DIR = Path(__file__).resolve().parent.parent


def flag(name: str, *, default: bool) -> bool:
    """Read a boolean variable. Raises ImproperlyConfigured."""
    value = os.environ.get(name, "").strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    if value:
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to true or false.")
    return default


def number(name: str, *, default: int) -> int:
    """Read a variable that is a whole number, 0 or more. Raises ImproperlyConfigured."""
    value = os.environ.get(name, "").strip()
    if value and not value.isdecimal():
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to a whole number.")
    return int(value) if value else default


def text(name: str) -> str:
    """Read a variable. Returns an empty string if it is not set."""
    return os.environ.get(name, "").strip()


def web_address(name: str) -> str:
    """Read a variable that holds a URL. Returns an empty string if it is not set. Raises ImproperlyConfigured."""
    value = text(name)
    if value and (urlsplit(value).scheme not in {"https", "http"} or not urlsplit(value).hostname):
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to an address that begins with https://.")
    return value


# Database. The application uses DATABASE_URL, and migrations use DIRECT_URL. If neither is set, an embedded PostgreSQL
# runs in .postgres/, for development and tests.
DATABASE_URLS = {name: os.environ[name] for name in ("DATABASE_URL", "DIRECT_URL") if os.environ.get(name)}
EMBEDDED_SERVER: embedded.Server | None = None
DATABASES: dict[str, dict[str, Any]]
DIRECT_DATABASE: dict[str, Any] | None = None
# Keepalives help a session that waits long, such as for an index build: routers on the way keep the connection, and the
# session does not wait for hours if the server dies.
SESSION = {
    "fallback_application_name": "council",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

if DATABASE_URLS:
    runtime, direct = next(iter(DATABASE_URLS)), next(reversed(DATABASE_URLS))
    DATABASES = {"default": urls.parse(DATABASE_URLS[runtime], variable=runtime)}
    # A transaction pooler may run each transaction in another server session, so a cursor cannot outlive one.
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True
    DIRECT_DATABASE = urls.parse(DATABASE_URLS[direct], variable=direct)
else:
    binaries = os.environ.get("COUNCIL_POSTGRES_BIN")
    EMBEDDED_SERVER = embedded.Server(
        folder=Path(os.environ.get("COUNCIL_POSTGRES_FOLDER", BASE_DIR / ".postgres")),
        binaries=Path(binaries) if binaries else None,
    )
    DATABASES = {
        "default": {
            "ENGINE": "council.postgres",
            "NAME": "council",
            "OPTIONS": {},
            "EMBEDDED_SERVER": EMBEDDED_SERVER,
        }
    }
for database in (DATABASES["default"], DIRECT_DATABASE):
    if database is not None:
        database["OPTIONS"] = {**SESSION, **database["OPTIONS"]}

# How long a page waits for the database before it answers 503.
PAGE_STATEMENT_SECONDS = number("PAGE_STATEMENT_SECONDS", default=5)
PAGE_LOCK_SECONDS = number("PAGE_LOCK_SECONDS", default=2)

# Django changes the name in DATABASES for test databases. DIRECT_DATABASE must only be used with this original name.
DATABASE_NAME = DATABASES["default"]["NAME"]

# Security. DEBUG is on if the embedded database is used, because that is a developer's machine.
DEBUG = flag("DEBUG", default=EMBEDDED_SERVER is not None)
# A connection is kept after the request, and checked before it is used again. The development server runs each request
# in a new thread, which would leave its connection open, so there it is closed.
DATABASES["default"] |= {
    "CONN_MAX_AGE": number("CONN_MAX_AGE", default=0 if DEBUG else 60),
    "CONN_HEALTH_CHECKS": True,
}
connect_seconds = number("DATABASE_CONNECT_SECONDS", default=3)
for database in filter(None, (DATABASES["default"], DIRECT_DATABASE)):
    database["OPTIONS"] = {"connect_timeout": connect_seconds, **database.get("OPTIONS", {})}

SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Set it to 50 random characters: "
            'python -c "import secrets; print(secrets.token_urlsafe(50))".'
        )
    SECRET_KEY = "for development only, never in production"  # noqa: S105
# Benchmarks: the secret for the random draws of releases, and how old answers about pay and fees must be for a release.
BENCHMARK_KEY = os.environ.get("BENCHMARK_KEY", "for development only" if DEBUG else "")
BENCHMARK_PAY_AGE_DAYS = number("BENCHMARK_PAY_AGE_DAYS", default=90)
KNOWN_BROWSER_COOKIE_NAME = "known"
ALLOWED_HOSTS = [host for host in os.environ.get("ALLOWED_HOSTS", "").split(",") if host]
CSRF_TRUSTED_ORIGINS = [origin for origin in os.environ.get("CSRF_TRUSTED_ORIGINS", "").split(",") if origin]
if not DEBUG:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    # With this prefix, browsers accept the cookie only from this host and only over TLS.
    SESSION_COOKIE_NAME = "__Host-session"
    CSRF_COOKIE_NAME = "__Host-csrf"
    KNOWN_BROWSER_COOKIE_NAME = "__Host-known"
# Older keys. Keep them while there are sessions that were signed with them.
SECRET_KEY_FALLBACKS = [key for key in os.environ.get("SECRET_KEY_FALLBACKS", "").split(",") if key]
# Where to report a security problem, as a URI (mailto: or https:). If it is not set: security@ the site's host name.
SECURITY_CONTACT = os.environ.get("SECURITY_CONTACT", "")
LOGGING = logs.configuration(level=os.environ.get("LOG_LEVEL", "WARNING").upper(), is_json=not DEBUG)
# Sentry or a compatible service. It receives no more about an error than the log does.
SENTRY_DSN = text("SENTRY_DSN")
SESSION_COOKIE_AGE = 7 * 24 * 3600
CSRF_COOKIE_HTTPONLY = True
# How many proxies add an address to X-Forwarded-For. In production there is at least one, which ends TLS.
PROXY_COUNT = number("PROXY_COUNT", default=0 if DEBUG else 1)
# HSTS preloading binds all names under the domain permanently, so only the domain's owner should decide on it.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
# Only files from this site, and no scripts at all. council/headers.py allows the admin's own scripts.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

INSTALLED_APPS = [
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "benchmarks",
    "resources",
    "gamification",
    "council.accounts",
    "council",
    "csp",
    "pgtrigger",
    "council.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "council.logs.RequestIds",
    "council.headers.ContentSecurityPolicy",
    "council.headers.Headers",
    "council.health.Health",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "council.outage.Outage",
    "council.requests.OnlyText",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "council.sessions.Authentication",
    "council.auth.SignedInAtGateway",
    "django_otp.middleware.OTPMiddleware",
    "council.throttle.Throttle",
    "council.access.MembersOnly",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
                "council.navigation.navigation",
            ],
        },
    },
]

ROOT_URLCONF = "council.urls"
WSGI_APPLICATION = "council.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.Account"
AUTHENTICATION_BACKENDS = [
    "council.auth.MemberBackend",
    "council.auth.StaffBackend",
]
# The first has the gateway's parameters, so that all sign-ins take equally long. The second checks older hashes.
PASSWORD_HASHERS = ["council.passwords.Argon2Hasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
# How many passwords a process checks at once. As many more may wait for a second; all others are told to come back.
SIGN_INS_AT_ONCE = number("SIGN_INS_AT_ONCE", default=2)
# Whether staff must enter a code from an authenticator app after their password.
STAFF_SECOND_FACTOR = flag("STAFF_SECOND_FACTOR", default=not DEBUG)
OTP_TOTP_ISSUER = "Revenue Council"
# The secret with which the gateway signs its cookie. If it is set, members signed in there are signed in here, too.
GATEWAY_JWT_SECRET = text("GATEWAY_JWT_SECRET")
if GATEWAY_JWT_SECRET and len(GATEWAY_JWT_SECRET.encode()) < 32:
    raise ImproperlyConfigured(
        "GATEWAY_JWT_SECRET has fewer than 32 bytes, so anybody with a cookie could find it by guessing. "
        "Give the gateway a longer secret, and set the same one here."
    )
# The gateway's page where members manage their billing. Members without good standing get a link to it.
GATEWAY_URL = web_address("GATEWAY_URL")
LOGIN_URL = "council:sign-in"
LOGIN_REDIRECT_URL = "council:home"  # used if the member asked for no other page
# The links in the header of every page for members: the label, and the page's URL name.
MEMBER_PAGES = [
    ("Home", "council:home"),
    ("Points", "gamification:overview"),
    ("History", "gamification:history"),
    ("Leaderboard", "gamification:leaderboard"),
    ("Benchmarks", "benchmarks:overview"),
    ("Library", "resources:library"),
    ("Membership", "council:membership"),
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# Everything is UTC: the columns hold UTC without a time zone, and the product's rules use days and months in UTC.
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
LANGUAGE_CODE = "en-us"
# Settings such as DATE_FORMAT would not work, because Django's own formats for English override them.
FORMAT_MODULE_PATH = "council.formats"

# Discord: the id of the server whose members earn points for activity there. The bot MEE6 counts the activity.
DISCORD_GUILD_ID = text("DISCORD_GUILD_ID")
if DISCORD_GUILD_ID and not (DISCORD_GUILD_ID.isascii() and DISCORD_GUILD_ID.isdecimal()):
    raise ImproperlyConfigured(
        f"DISCORD_GUILD_ID is {DISCORD_GUILD_ID!r}. Set it to the server's id, which has only digits."
    )
MEE6_URL = text("MEE6_URL") or "https://mee6.xyz"

# Files of the library: a private bucket with the S3 protocol, or a folder, which is the default in development.


def library_storage() -> dict[str, Any] | None:
    """Read where the library's files are stored. Returns None if nothing is set. Raises ImproperlyConfigured."""
    given = {
        "S3_ENDPOINT_URL": text("S3_ENDPOINT_URL"),
        "S3_REGION": text("S3_REGION"),
        "S3_BUCKET": text("S3_BUCKET"),
        "S3_ACCESS_KEY_ID": text("S3_ACCESS_KEY_ID"),
        "S3_SECRET_ACCESS_KEY": text("S3_SECRET_ACCESS_KEY"),
    }
    folder = text("LIBRARY_FOLDER")
    if missing := [name for name, value in given.items() if not value]:
        if len(missing) < len(given):
            raise ImproperlyConfigured(
                f"{', '.join(missing)} must be set, because other variables of the bucket are set. Set all five, "
                f"{', '.join(given)}, or none."
            )
        if not folder and not DEBUG:
            return None
        path = Path(folder or ".library")
        return {"BACKEND": "resources.storage.Folder", "OPTIONS": {"location": BASE_DIR / path}}
    if folder:
        raise ImproperlyConfigured("LIBRARY_FOLDER and S3_BUCKET are both set. Set one of them.")
    endpoint, region, bucket, access_key, secret_key = given.values()
    address = urlsplit(endpoint)
    is_here = address.hostname in {"localhost", "127.0.0.1", "::1"}
    if not address.hostname or address.scheme not in ({"http", "https"} if is_here else {"https"}):
        raise ImproperlyConfigured(
            f"S3_ENDPOINT_URL is {endpoint!r}. Set it to an address that begins with https://; "
            f"http:// is accepted only for this machine."
        )
    return {
        "BACKEND": "resources.bucket.Bucket",
        "OPTIONS": {
            "endpoint_url": endpoint,
            "region_name": region,
            "bucket_name": bucket,
            "access_key": access_key,
            "secret_key": secret_key,
            "connect_seconds": number("S3_CONNECT_SECONDS", default=3),
            "answer_seconds": number("S3_ANSWER_SECONDS", default=5),
            "save_seconds": number("S3_SAVE_SECONDS", default=60),
        },
    }


# The only handler. It accepts files only from staff who may upload.
FILE_UPLOAD_HANDLERS = ["resources.uploads.UploadHandler"]


def clamav_address() -> str:
    """Read where ClamAV listens: the path of a socket, or host and port. Raises ImproperlyConfigured."""
    address = text("CLAMAV_ADDRESS")
    host, _, port = address.rpartition(":")
    if address and not address.startswith("/") and not (host and port.isdecimal()):
        raise ImproperlyConfigured(
            f"CLAMAV_ADDRESS is {address!r}. Set it to the path of a socket, such as /run/clamav/clamd.ctl, "
            f"or to a host and a port, such as 127.0.0.1:3310."
        )
    return address


CLAMAV_ADDRESS = clamav_address()

STATIC_URL = "static/"
STATIC_ROOT = None if DEBUG else BASE_DIR / "staticfiles"  # filled by collectstatic on deploy
STORAGES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
if library := library_storage():
    STORAGES["library"] = library

# django-pgtrigger: migrations create the triggers (council.postgres.triggers), so its own installer is off. So is its
# schema editor, which drops triggers while a column is altered.
PGTRIGGER_SCHEMA_EDITOR = False
PGTRIGGER_INSTALL_ON_MIGRATE = False

# If the server has the data API's roles (anon, authenticated), `migrate` closes the tables of third-party apps to them
# with row level security, except the tables of the apps in this list.
ROW_LEVEL_SECURITY_EXCEPT_APPS: list[str] = []

# The apps whose migrations `migrate` runs in steps that lock no table in use for long, where it knows such steps; or
# "all", or "none".
MIGRATE_IN_STEPS = (text("MIGRATE_IN_STEPS") or "all").replace(" ", "").split(",")

# Accepted risks of third-party migrations, so that `migrate --plan` does not warn about them. Our own declare
# theirs with `accepts`.
ACCEPTED_MIGRATION_RISKS = {
    "contenttypes.0002_remove_content_type_name": {
        "unknown-operation": "It does nothing forwards. The table is new, and belongs to Django."
    },
    "auth.0011_update_proxy_permissions": {
        "unknown-operation": "It changes permissions of proxy models, and there are no proxy models."
    },
    "otp_static.0002_throttling": {
        "scan-under-lock": "The table has a row for each member of staff, and only this application uses it."
    },
    "otp_totp.0002_auto_20190420_0723": {
        "scan-under-lock": "The table has a row for each member of staff, and only this application uses it."
    },
}
