"""Separate databases for tests that migrate, commit, or use several sessions.

A pytest plugin (see pyproject.toml). Django's own test database is for everything else.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection as default_connection
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from council.postgres import embedded
from tests import forked

ROOT = Path(__file__).resolve().parent.parent
SCRATCH = "scratch"
# Keys of advisory locks. With them, the workers of a run agree which one makes a template and which one drops them all.
MAKER_OF_TEMPLATES, USERS_OF_TEMPLATES = 7_240_001, 7_240_002

# Processes that tests start save their bytecode, even if the environment forbids it. That makes each start a third
# faster.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "any_server: slow, and the same on every version of PostgreSQL, so one version is enough"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On another version than the embedded one, skip tests marked any_server, unless `-m` is given."""
    if "COUNCIL_POSTGRES_BIN" not in os.environ or config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("any_server")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def url(name: str) -> str:
    """Write the connection URL of a database on the test server."""
    params = default_connection.get_connection_params()
    user = quote(params["user"])
    password = f":{quote(params['password'])}" if params.get("password") else ""
    host, port = quote(str(params["host"]), safe=""), params.get("port") or 5432
    return f"postgresql://{user}{password}@/{name}?host={host}&port={port}"


def execute_on_server(statement: sql.Composed) -> None:
    with psycopg.connect(url("postgres"), autocommit=True) as session:
        session.execute(statement)


def catalog_query(*, scope: str = "app", ordinals: str = "off") -> bytes:
    """Read the contract's query as psql would: with its variables filled in, and without psql's own commands."""
    text = (ROOT / "tests/schema/catalog.sql").read_text()
    query = text[text.index("\nWITH") : text.rindex("ROLLBACK")]
    for variable, value in {"schema": "public", "ordinals": ordinals, "scope": scope}.items():
        query = query.replace(f":'{variable}'", f"'{value}'")
    return query.encode()


WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


class Database:
    """A database that exists for one test."""

    def __init__(self, name: str, *, server: str | None = None) -> None:
        self.name = name
        self.url = server or url(name)

    def create(self, *, template: str = "template0") -> None:
        execute_on_server(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(self.name), sql.Identifier(template)
            )
        )

    def drop(self) -> None:
        execute_on_server(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name))
        )

    def become(self, template: str) -> None:
        """Replace it with a copy of another database."""
        self.drop()
        self.create(template=template)

    def connect(self, **options: str) -> psycopg.Connection:
        """Open a session in autocommit mode, like one of the gateway or of an operator."""
        return psycopg.connect(self.url, autocommit=True, **options)  # type: ignore[arg-type]

    def connect_to(self, name: str) -> psycopg.Connection:
        """Open a session in another database of the same server."""
        return psycopg.connect(self.url, dbname=name, autocommit=True)

    def execute(self, statements: str) -> None:
        with self.connect() as session:
            session.execute(statements.encode())

    def fetch(self, query: str) -> list[tuple[object, ...]]:
        with self.connect() as session:
            return session.execute(query.encode()).fetchall()

    def wait_for_waiting(self, sessions: int) -> None:
        """Wait until this many sessions are waiting for a lock, so that what the test does next is certain."""
        deadline = time.monotonic() + 120
        with self.connect() as session:
            while session.execute(WAITING).fetchone() != (sessions,):
                assert time.monotonic() < deadline, f"{sessions} sessions should wait for a lock."
                time.sleep(0.01)

    def catalog(self) -> list[str]:
        """Describe the schema with the contract's own query, ignoring the order of columns."""
        with self.connect() as session:
            session.execute("SET search_path TO pg_catalog; SET jit TO off")  # compiling it takes seconds
            lines = [row[0] for row in session.execute(catalog_query()).fetchall()]
        # PostgreSQL 18 lists each NOT NULL as a constraint, too.
        return [line for line in lines if not line.startswith("CONSTRAINT-n|")]

    def environment(self, **more: str) -> dict[str, str]:
        """The environment for a process that uses this database."""
        return {**os.environ, "DATABASE_URL": self.url, "SECRET_KEY": "for tests only", **more}

    def manage(
        self, *arguments: str, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run manage.py in a separate process, as a deploy does."""
        result = forked.manage(arguments, self.environment(**environment))
        if check:
            result.check_returncode()
        return result

    @contextmanager
    def as_django_connection(self) -> Iterator[BaseDatabaseWrapper]:
        """Give Django a connection to the database, with the alias `scratch`."""
        connections.databases[SCRATCH] = {**default_connection.settings_dict, "NAME": self.name}
        try:
            yield connections[SCRATCH]
        finally:
            connections[SCRATCH].close()
            del connections[SCRATCH]
            del connections.databases[SCRATCH]

    @contextmanager
    def as_default_connection(self) -> Iterator[BaseDatabaseWrapper]:
        """Connect Django to the database in all threads, for code that commits."""
        default_connection.close()
        settings = default_connection.settings_dict  # the threads' connections share it
        former, settings["NAME"] = settings["NAME"], self.name
        try:
            yield connections["default"]
        finally:
            default_connection.close()
            settings["NAME"] = former


@contextmanager
def server_of_its_own(**options: str) -> Iterator[tuple[embedded.Server, Database]]:
    """Start a server with an empty database. The test may stop the server."""
    if settings.EMBEDDED_SERVER is None:
        pytest.skip("needs a private server, but DATABASE_URL is set")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        binaries = settings.EMBEDDED_SERVER.binaries
        server = embedded.Server(Path(folder), binaries=binaries, options={"fsync": "off", **options})
        address = server.start()
        try:
            database = Database("own", server=f"postgresql://postgres@/own?host={address.host}")
            with database.connect_to("postgres") as session:
                session.execute("CREATE DATABASE own")
            yield server, database
        finally:
            server.remove()


def migrate(*targets: str) -> None:
    """Migrate the database with the alias `scratch`."""
    call_command("migrate", *targets, database=SCRATCH, verbosity=0, interactive=False)


@pytest.fixture(scope="session")
def database_name(worker_id: str) -> Callable[[str], str]:
    """Return a name for a database that no other worker uses."""
    return lambda purpose: f"council_{purpose}_{worker_id}"


@pytest.fixture
def database(
    django_db_blocker: pytest.FixtureRequest, database_name: Callable[[str], str]
) -> Iterator[Database]:
    """An empty database."""
    database = Database(database_name("empty"))
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        database.drop()
        database.create()
        yield database
        database.drop()


@pytest.fixture
def scratch(database: Database) -> Iterator[BaseDatabaseWrapper]:
    """An empty database, as a Django connection."""
    with database.as_django_connection() as connection:
        yield connection


class Templates:
    """Databases to copy from. The first worker that needs one makes it, and the last worker to end drops all of them.

    `KEEP_TEMPLATES` names a state of the migrations. The next run with the same name uses its templates again.
    """

    def __init__(self, run: str) -> None:
        self.kept = os.environ.get("KEEP_TEMPLATES")
        self.run = self.kept or run

    @contextmanager
    def in_use(self) -> Iterator[Self]:
        with psycopg.connect(url("postgres"), autocommit=True) as session:
            session.execute("SELECT pg_advisory_lock_shared(%s)", [USERS_OF_TEMPLATES])
            yield self
            if self.kept:
                return
            with _only_one(session):
                session.execute("SELECT pg_advisory_unlock_shared(%s)", [USERS_OF_TEMPLATES])
                if session.execute("SELECT pg_try_advisory_lock(%s)", [USERS_OF_TEMPLATES]).fetchone() == (
                    True,
                ):
                    for (name,) in session.execute(
                        "SELECT datname FROM pg_database WHERE datname LIKE 'council\\_template\\_%'"
                    ).fetchall():
                        Database(name).drop()

    def get(self, name: str, fill: Callable[[Database], object]) -> str:
        """Return the name of a database that `fill` has filled in this run."""
        database = Database(f"council_template_{name}")
        with psycopg.connect(url("postgres"), autocommit=True) as session, _only_one(session):
            made = session.execute(
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
                [database.name],
            ).fetchone()
            if made != (self.run,):
                database.drop()
                database.create()
                fill(database)
                session.execute(
                    sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                        sql.Identifier(database.name), sql.Literal(self.run)
                    )
                )
        return database.name


@contextmanager
def _only_one(session: psycopg.Connection) -> Iterator[None]:
    """Make other workers wait that reach the same place."""
    session.execute("SELECT pg_advisory_lock(%s)", [MAKER_OF_TEMPLATES])
    yield
    session.execute("SELECT pg_advisory_unlock(%s)", [MAKER_OF_TEMPLATES])


@pytest.fixture(scope="session")
def templates(django_db_blocker: pytest.FixtureRequest, testrun_uid: str) -> Iterator[Templates]:
    with (
        django_db_blocker.unblock(),  # type: ignore[attr-defined]
        Templates(testrun_uid).in_use() as templates,
    ):
        yield templates


def fill_to(*target: str, sql: str = "") -> Callable[[Database], None]:
    """Fill a database with SQL, then migrate it, fully or to a target."""

    def fill(database: Database) -> None:
        if sql:
            database.execute(sql)
        with database.as_django_connection():
            migrate(*target)

    return fill


@pytest.fixture(scope="session")
def migrated_template(templates: Templates) -> str:
    """A database with all migrations applied."""
    return templates.get("migrated", fill_to())


@pytest.fixture
def migrated(
    django_db_blocker: pytest.FixtureRequest, database_name: Callable[[str], str], migrated_template: str
) -> Iterator[Database]:
    """A database with all migrations applied, and no rows."""
    database = Database(database_name("migrated"))
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        database.drop()
        database.create(template=migrated_template)
        yield database
        database.drop()
