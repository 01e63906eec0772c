"""Connection URLs as in the gateway's environment."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from council.postgres import urls

pytestmark = pytest.mark.any_server


def test_a_pooled_prisma_url_loses_prisma_s_parameters() -> None:
    parsed = urls.parse(
        "postgresql://postgres.abc:p%40ss%2Fw@pooler.example.com:6543/postgres"
        "?pgbouncer=true&connection_limit=1&sslmode=require&connect_timeout=10",
        variable="DATABASE_URL",
    )

    assert parsed == {
        "ENGINE": "council.postgres",
        "NAME": "postgres",
        "USER": "postgres.abc",
        "PASSWORD": "p@ss/w",
        "HOST": "pooler.example.com",
        "PORT": "6543",
        "OPTIONS": {"sslmode": "require", "connect_timeout": "10"},
    }


def test_prisma_s_schema_becomes_the_search_path() -> None:
    parsed = urls.parse("postgres://u@h/db?schema=members&options=-c%20geqo%3Doff", variable="DATABASE_URL")

    assert parsed["OPTIONS"] == {"options": "-c geqo=off -c search_path=members"}
    assert urls.parse("postgres://u@h/db?schema=public", variable="DATABASE_URL")["OPTIONS"] == {}


def test_a_socket_folder_is_a_host() -> None:
    assert urls.parse("postgresql:///db?host=/run/postgresql", variable="X")["HOST"] == "/run/postgresql"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u:secret@h/db", "DIRECT_URL is not a PostgreSQL URL. Write it as postgresql://user"),
        ("h:5432/db?password=secret", "DIRECT_URL is not a PostgreSQL URL"),
        ("postgresql://u:secret@h:5432", "DIRECT_URL names no database"),
        ("postgresql://u:secret@h/db?sslmod=require", "DIRECT_URL cannot be read"),
        ("postgresql://u:100%secret@h/db", "DIRECT_URL cannot be read. Percent-encode"),
    ],
)
def test_an_invalid_url_is_named_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=message) as caught:
        urls.parse(url, variable="DIRECT_URL")

    assert "sec" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
