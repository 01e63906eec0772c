"""A database, given by its URL: how to connect, how to show it without the password, and how to compare two."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import psycopg
from django.core.exceptions import ImproperlyConfigured
from psycopg import conninfo

from council.postgres import urls
from council.rehearsal.errors import CannotRehearse
from council.zero_downtime import pooler
from council.zero_downtime.failures import CONNECTION_CURES

CONNECT_SECONDS = 10
# The cluster's identifier, and the database's oid in it. A copy of the files, such as a standby, has the same ones as
# the original, and rightly counts as the same database here.
SYSTEM = "SELECT system_identifier::text FROM pg_control_system()"
DATABASE = (
    "SELECT pg_postmaster_start_time()::text, oid::text FROM pg_database WHERE datname = current_database()"
)


class Identity(NamedTuple):
    """What identifies a database, whatever its URL. `system` is None if the role may not read it."""

    system: str | None
    started: str
    database: str

    def is_same(self, other: "Identity") -> bool:
        if self.database != other.database:
            return False
        if self.system and other.system:
            return self.system == other.system
        return self.started == other.started


def identity(session: psycopg.Connection) -> Identity:
    try:
        system = session.execute(SYSTEM).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        system = None
    database = session.execute(DATABASE).fetchone()
    assert database
    return Identity(system[0] if system else None, *database)


@dataclass(frozen=True)
class DatabaseUrl:
    """A database's URL. `option` is the option that gave it, for messages."""

    url: str
    option: str

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The URL as an entry of Django's DATABASES. Raises CannotRehearse if it cannot be read."""
        try:
            return urls.parse(self.url, variable=self.option)
        except ImproperlyConfigured as error:
            raise CannotRehearse(str(error), cure="Nothing was changed.") from None

    @cached_property
    def schema(self) -> str:
        """The schema with the application's tables: Prisma's parameter `schema`, or public."""
        return dict(parse_qsl(self.url.partition("?")[2])).get("schema", "public")

    @cached_property
    def params(self) -> dict[str, Any]:
        """The connection parameters for libpq."""
        given = self.settings
        params = {
            "dbname": given["NAME"],
            "user": given["USER"],
            "password": given["PASSWORD"],
            "host": given["HOST"],
            "port": given["PORT"],
            **given["OPTIONS"],
        }
        return {name: value for name, value in params.items() if value}

    def __str__(self) -> str:
        given = self.settings
        return (
            f"database {given['NAME']} at {given['HOST'] or 'the local socket'}, port {given['PORT'] or 5432}"
        )

    def connect(self, *, application: str) -> psycopg.Connection:
        """Open a session in autocommit mode. Raises CannotRehearse if that fails."""
        params = {"connect_timeout": CONNECT_SECONDS, **self.params, "fallback_application_name": application}
        try:
            return psycopg.connect(**params, autocommit=True)
        except psycopg.Error as error:
            message = str(error).strip()
            cures = (cure for pattern, cure in CONNECTION_CURES if re.search(pattern, message))
            raise CannotRehearse(
                f"{self.option} ({self}) cannot be reached: {message}",
                cure=next(cures, "Check that the server is running."),
            ) from error

    def refuse_transaction_pooler(self, session: psycopg.Connection) -> None:
        """Raise CannotRehearse for a transaction pooler: clients would share its sessions' settings and locks."""
        try:
            pooler.refuse_transaction_pooler(session, self.params, variable=self.option)
        except (pooler.TransactionPooler, pooler.PoolerOfUnknownMode) as error:
            raise CannotRehearse(
                str(error).partition("\n")[0],
                cure=f"Give {self.option} the server itself, or a pooler in session mode (at Supabase: port 5432).",
            ) from error

    @cached_property
    def without_password(self) -> str:
        """The connection string for a program's arguments, which every user of the machine can read."""
        return conninfo.make_conninfo(
            **{name: value for name, value in self.params.items() if name != "password"}
        )

    @property
    def environment(self) -> dict[str, str]:
        return {"PGPASSWORD": self.params["password"]} if "password" in self.params else {}
