"""Conversion of database URLs, in the syntax of Prisma and libpq, to Django's settings."""

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg import conninfo

# Prisma's own parameters: https://www.prisma.io/docs/orm/overview/databases/postgresql
# libpq refuses parameters that it does not know, and the gateway and we share one DATABASE_URL.
PRISMA_PARAMETERS = frozenset(
    {"connection_limit", "pgbouncer", "pool_timeout", "schema", "socket_timeout", "sslaccept", "sslidentity",
     "statement_cache_size"}
)  # fmt: skip


def parse(url: str, *, variable: str) -> dict[str, Any]:
    """Turn a connection URL into an entry of Django's DATABASES.

    Parameters that only Prisma knows are dropped, except `schema`, which becomes the search_path.
    Raises ImproperlyConfigured, which names the variable and never the URL, because that contains a password.
    Source: PostgreSQL manual, 34.1.1.2 Connection URIs.
    """
    if not url.startswith(("postgres://", "postgresql://")):
        raise ImproperlyConfigured(
            f"{variable} is not a PostgreSQL URL. Write it as postgresql://user:password@host:5432/database."
        )
    address, _, query = url.partition("?")
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    schema = parameters.get("schema", "public")
    for_libpq = {key: value for key, value in parameters.items() if key not in PRISMA_PARAMETERS}
    try:
        options: dict[str, Any] = dict(
            conninfo.conninfo_to_dict(f"{address}?{urlencode(for_libpq, quote_via=quote)}")
        )
    except psycopg.ProgrammingError:
        # `from None`, because libpq's message may quote the part with the password.
        raise ImproperlyConfigured(
            f"{variable} cannot be read. Percent-encode special characters in the password "
            f"(@ is %40, / is %2F, % is %25), and check the parameters after the question mark."
        ) from None
    if not options.get("dbname"):
        raise ImproperlyConfigured(f"{variable} names no database. Add it after the port: …:5432/postgres.")
    if schema != "public":
        options["options"] = f"{options.get('options', '')} -c search_path={schema}".strip()
    return {
        "ENGINE": "council.postgres",
        "NAME": options.pop("dbname"),
        "USER": options.pop("user", ""),
        "PASSWORD": options.pop("password", ""),
        "HOST": options.pop("host", ""),
        "PORT": str(options.pop("port", "")),
        "OPTIONS": options,
    }
