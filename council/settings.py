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
    """Read a yes-or-no variable. Raises ImproperlyConfigured."""
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
    """Read a variable; the empty string where it is not set."""
    return os.environ.get(name, "").strip()


def web_address(name: str) -> str:
    """Read a variable that is the address of a page elsewhere; the empty string where it is not set.

    Raises ImproperlyConfigured.
    """
    value = text(name)
    if value and (urlsplit(value).scheme not in {"https", "http"} or not urlsplit(value).hostname):
        raise ImproperlyConfigured(f"{name} is {value!r}. Set it to an address that begins with https://.")
    return value


# Database. DATABASE_URL serves the application, DIRECT_URL the migrations; without either a private
# PostgreSQL runs in .postgres/, for development and tests.
DATABASE_URLS = {name: os.environ[name] for name in ("DATABASE_URL", "DIRECT_URL") if os.environ.get(name)}
EMBEDDED_SERVER: embedded.Server | None = None
DATABASES: dict[str, dict[str, Any]]
DIRECT_DATABASE: dict[str, Any] | None = None
# A session that waits long for an answer, as for an index, must not be forgotten by a router in between, nor wait for
# hours for a server that has died.
SESSION = {
    "fallback_application_name": "council",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

if DATABASE_URLS:
    runtime, direct = next(iter(DATABASE_URLS)), next(reversed(DATABASE_URLS))
    DATABASES = {"default": urls.parse(DATABASE_URLS[runtime], variable=runtime)}
    # A transaction pooler gives every transaction another server process: no session outlives one.
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

# How long a page waits for the database, before it says that it is away.
PAGE_STATEMENT_SECONDS = number("PAGE_STATEMENT_SECONDS", default=5)
PAGE_LOCK_SECONDS = number("PAGE_LOCK_SECONDS", default=2)

# Django gives DATABASES another name while it makes test databases: DIRECT_DATABASE does not belong to those.
DATABASE_NAME = DATABASES["default"]["NAME"]

# Security. DEBUG is on where the database is the embedded one, that is on a developer's machine.
DEBUG = flag("DEBUG", default=EMBEDDED_SERVER is not None)
# A connection outlives the request, and is tried before it is used again. On a developer's machine each request has a
# thread of its own, and would leave its connection behind.
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
# Benchmarks: the secret draws of releases, and how old the answers about pay and fees are that releases use.
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
    # With this prefix a browser takes the cookie from this host alone, and over TLS alone.
    SESSION_COOKIE_NAME = "__Host-session"
    CSRF_COOKIE_NAME = "__Host-csrf"
    KNOWN_BROWSER_COOKIE_NAME = "__Host-known"
# Older keys, while sessions that were signed with them last.
SECRET_KEY_FALLBACKS = [key for key in os.environ.get("SECRET_KEY_FALLBACKS", "").split(",") if key]
# Where whoever finds a hole reports it: an address of mail or of a page, as a URI. Unset: security@ the site's name.
SECURITY_CONTACT = os.environ.get("SECURITY_CONTACT", "")
LOGGING = logs.configuration(level=os.environ.get("LOG_LEVEL", "WARNING").upper(), is_json=not DEBUG)
# Sentry, or a service that speaks its protocol: gets what the log gets of an error, and no more.
SENTRY_DSN = text("SENTRY_DSN")
SESSION_COOKIE_AGE = 7 * 24 * 3600
CSRF_COOKIE_HTTPONLY = True
# How many proxies add to X-Forwarded-For. In production one at least, the one that ends TLS.
PROXY_COUNT = number("PROXY_COUNT", default=0 if DEBUG else 1)
# Preloading is a promise for all names under the domain, for good. It is the domain's owner's to make.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
# Nothing but what is served from here, and no script at all. council/headers.py adds what Django's admin runs.
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
# The gateway's parameters, so that no sign-in takes longer than another; the second reads what was hashed before.
PASSWORD_HASHERS = ["council.passwords.Argon2Hasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
# How many passwords a process looks at in one moment; as many again wait a second, and the rest is told to come back.
SIGN_INS_AT_ONCE = number("SIGN_INS_AT_ONCE", default=2)
# Whether staff give a code of an authenticator app after their password.
STAFF_SECOND_FACTOR = flag("STAFF_SECOND_FACTOR", default=not DEBUG)
OTP_TOTP_ISSUER = "Revenue Council"
# The secret by which the gateway signs its cookie. Who is signed in there is signed in here; not set: nobody is.
GATEWAY_JWT_SECRET = text("GATEWAY_JWT_SECRET")
if GATEWAY_JWT_SECRET and len(GATEWAY_JWT_SECRET.encode()) < 32:
    raise ImproperlyConfigured(
        "GATEWAY_JWT_SECRET has fewer than 32 bytes, and whoever has a cookie could find it by trying. "
        "Give the gateway a longer one, and set the same here."
    )
# The gateway's page on which members manage their billing, to which those without good standing are led.
GATEWAY_URL = web_address("GATEWAY_URL")
LOGIN_URL = "council:sign-in"
LOGIN_REDIRECT_URL = "council:home"  # where a member goes who asked for no page
# What the header of every page shows to members: the name, and the page's URL name.
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

# Everything is UTC: the columns hold UTC without a zone, and so do days and months in the product's rules.
USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
LANGUAGE_CODE = "en-us"
# Django's own formats for English would win over settings of the same names.
FORMAT_MODULE_PATH = "council.formats"

# Discord: the server whose members are paid for activity there. MEE6 counts it.
DISCORD_GUILD_ID = text("DISCORD_GUILD_ID")
if DISCORD_GUILD_ID and not (DISCORD_GUILD_ID.isascii() and DISCORD_GUILD_ID.isdecimal()):
    raise ImproperlyConfigured(
        f"DISCORD_GUILD_ID is {DISCORD_GUILD_ID!r}. Set it to the server's id, which is digits."
    )
MEE6_URL = text("MEE6_URL") or "https://mee6.xyz"

# Files of the library: a private bucket over the S3 protocol, or a folder, which development has without being asked.


def library_storage() -> dict[str, Any] | None:
    """Read where the library's files are; None where nobody has said so. Raises ImproperlyConfigured."""
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
                f"Not set: {', '.join(missing)}. Other variables of the bucket are. Set all five, "
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
            f"http:// is accepted for this machine alone."
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


# The one handler takes files of staff who may upload, and nobody else's.
FILE_UPLOAD_HANDLERS = ["resources.uploads.UploadHandler"]


def clamav_address() -> str:
    """Read where ClamAV listens: a socket's path, or host and port. Raises ImproperlyConfigured."""
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

# django-pgtrigger: triggers come with migrations (council.postgres.triggers), its own installer stays out,
# and its schema editor, which drops triggers while a column is altered, too.
PGTRIGGER_SCHEMA_EDITOR = False
PGTRIGGER_INSTALL_ON_MIGRATE = False

# Apps whose tables `migrate` leaves open to the data API. Those of other apps than ours it shuts by row level security
# where the server has the data API's roles (anon, authenticated).
ROW_LEVEL_SECURITY_EXCEPT_APPS: list[str] = []

# What third parties' migrations do that `migrate --plan` would warn of. Our own say so themselves, by `accepts`.
ACCEPTED_MIGRATION_RISKS = {
    "contenttypes.0002_remove_content_type_name": {
        "unknown-operation": "Forwards it does nothing; the table is new, and Django's own."
    },
    "auth.0011_update_proxy_permissions": {
        "unknown-operation": "It looks for permissions of proxy models, and finds no model that has any."
    },
    "otp_static.0002_throttling": {
        "scan-under-lock": "The table has a row for each member of staff, and only this application uses it."
    },
    "otp_totp.0002_auto_20190420_0723": {
        "scan-under-lock": "The table has a row for each member of staff, and only this application uses it."
    },
}
