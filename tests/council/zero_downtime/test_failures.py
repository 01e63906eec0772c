"""The messages when a deploy stops, and that the next run completes."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import NotSupportedError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from council.management.commands import migrate
from council.postgres import embedded, installation
from council.zero_downtime import failures
from tests.databases import Database, server_of_its_own

V1_SQL = (Path(__file__).resolve().parents[2] / "schema" / "v1.sql").read_text()
MEMBERS = """
INSERT INTO "Member" (id, email, "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', now() FROM generate_series(1, 5000) AS n
"""
MANY_MEMBERS = """
INSERT INTO "Member" (id, "updatedAt", "totalPoints")
SELECT 'n' || n, now(), n FROM generate_series(1, 200000) AS n
"""
# If any migration would fail, these are enough.
ADOPTED, POINTS, POINTS_INDEX = ("council", "0001"), ("council", "0005"), ("council", "0006")
VALID_KEYS = ("gamification", "0003")


@pytest.fixture
def v1(database: Database) -> Database:
    database.execute(V1_SQL + MEMBERS)
    return database


def failed(database: Database, *arguments: str, **environment: str) -> str:
    """Run a deploy that stops with a message, and return the message."""
    result = database.manage("migrate", *arguments, check=False, **environment)
    assert result.returncode == 1, result.stdout
    assert "Traceback" not in result.stderr
    return result.stderr


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_refused(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return True
    return False


def assert_completes(database: Database, *target: str) -> None:
    assert database.manage("migrate", *target).returncode == 0
    assert "No migrations to apply" in database.manage("migrate", *target).stdout


def test_an_unreachable_host(database: Database) -> None:
    words = failed(database, *ADOPTED, DATABASE_URL="postgresql://sam:hunter2@127.0.0.1:1/council")

    assert "The database (127.0.0.1, port 1, database council) cannot be used: " in words
    assert "Check host and port, and whether the server is up." in words
    assert "hunter2" not in words
    assert_completes(database, *ADOPTED)


def test_a_host_without_an_address(database: Database) -> None:
    words = failed(database, *ADOPTED, DATABASE_URL="postgresql://sam@no-such-host.invalid/council")

    assert "Check the host in the URL." in words
    assert_completes(database, *ADOPTED)


def test_a_database_that_does_not_exist(database: Database) -> None:
    words = failed(database, *ADOPTED, DATABASE_URL=database.url.replace(database.name, "nowhere"))

    assert 'database "nowhere" does not exist' in words
    assert "Check the name of the database at the end of the URL, or create it." in words
    assert_completes(database, *ADOPTED)


def test_a_wrong_password(database: Database) -> None:
    server = settings.EMBEDDED_SERVER
    if server is None:
        pytest.skip("needs the embedded server, whose pg_hba.conf can be changed")
    rules = server.home / "data" / "pg_hba.conf"
    before = rules.read_text()
    database.execute("DROP ROLE IF EXISTS locked; CREATE ROLE locked LOGIN PASSWORD 'right'")
    try:
        rules.write_text(f"local all locked scram-sha-256\n{before}")
        database.execute("SELECT pg_reload_conf()")
        url = database.url.replace("//postgres@", "//locked:wrong@")
        wait_until(lambda: is_refused(url))

        words = failed(database, *ADOPTED, DATABASE_URL=url)

        assert 'password authentication failed for user "locked"' in words
        assert "Check user and password in the URL." in words
        assert "wrong" not in words.replace("went wrong", "")
        database.execute(f'ALTER DATABASE "{database.name}" OWNER TO locked')
        right = url.replace("wrong", "right")
        assert "Applied" in database.manage("migrate", *ADOPTED, DATABASE_URL=right).stdout
    finally:
        rules.write_text(before)
        database.execute("SELECT pg_reload_conf(); REASSIGN OWNED BY locked TO postgres")
        database.execute("DROP OWNED BY locked; DROP ROLE locked")


def test_a_database_that_is_read_only(v1: Database) -> None:
    v1.execute(f'ALTER DATABASE "{v1.name}" SET default_transaction_read_only TO on')

    words = failed(v1, *POINTS)

    assert "The server is set to default_transaction_read_only. Nothing was changed." in words
    with v1.connect_to("postgres") as session:
        session.execute(f'ALTER DATABASE "{v1.name}" RESET default_transaction_read_only'.encode())
    assert_completes(v1, *POINTS)


def test_a_missing_right_on_one_table(v1: Database) -> None:
    v1.execute(
        f"""DROP ROLE IF EXISTS deployer; CREATE ROLE deployer LOGIN; GRANT CREATE ON SCHEMA public TO deployer;
            GRANT ALL ON ALL TABLES IN SCHEMA public TO deployer; GRANT CREATE ON DATABASE "{v1.name}" TO deployer"""
    )
    try:
        as_deployer = v1.url.replace("//postgres@", "//deployer@")
        words = failed(v1, *POINTS, DATABASE_URL=as_deployer)

        assert (
            "1 difference. Nothing was changed.\n  owner      table Member: it belongs to postgres" in words
        )
        assert "and the role deployer is not a member of postgres" in words
        assert v1.fetch("SELECT to_regclass('django_migrations')") == [(None,)]
        v1.execute('ALTER TABLE "Member" OWNER TO deployer')
        assert v1.manage("migrate", *POINTS, DATABASE_URL=as_deployer).returncode == 0
    finally:
        v1.execute("DROP OWNED BY deployer CASCADE; DROP ROLE deployer")


@pytest.fixture
def small_disk(own_server: tuple[embedded.Server, Database]) -> Iterator[Path]:
    """A small file system that belongs to the server's user."""
    server, _ = own_server
    owner = (server.home / "data").stat()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        disk = Path(folder, "disk")
        disk.mkdir()
        options = f"size=2m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
        if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("may not mount a small disk here")
        try:
            yield disk
        finally:
            server.stop()  # its files are still open
            subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_during_an_index_build(
    own_server: tuple[embedded.Server, Database], small_disk: Path
) -> None:
    _, database = own_server
    database.manage("migrate", *POINTS)
    database.execute(MANY_MEMBERS)
    with database.connect() as session:
        session.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'".encode())
        session.execute("ALTER DATABASE own SET default_tablespace TO small")

    words = failed(database, *POINTS_INDEX)

    assert "council.0006_member_points_index could not be applied: could not extend file " in words
    assert "No space left on device" in words
    assert "The disk is full. Free some space or enlarge it." in words
    assert database.fetch("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
    database.execute("ALTER DATABASE own RESET default_tablespace")
    assert_completes(database, *POINTS_INDEX)


def test_a_limit_for_temporary_files_that_an_index_build_exceeds(v1: Database) -> None:
    v1.manage("migrate", *POINTS)
    v1.execute(MANY_MEMBERS)
    v1.execute(f"""ALTER DATABASE "{v1.name}" SET temp_file_limit TO '64kB';
                   ALTER DATABASE "{v1.name}" SET maintenance_work_mem TO '1MB'""")

    words = failed(v1, *POINTS_INDEX)

    assert "council.0006_member_points_index could not be applied: temporary file size exceeds " in words
    assert "A limit of the server is exceeded. Raise the limit that the message names." in words
    assert v1.fetch("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
    v1.execute(f'ALTER DATABASE "{v1.name}" RESET ALL')
    assert_completes(v1, *POINTS_INDEX)


@pytest.fixture
def own_server() -> Iterator[tuple[embedded.Server, Database]]:
    """A server with a v1 database, which the test may stop."""
    with server_of_its_own() as (server, database):
        database.execute(V1_SQL)
        yield server, database


def test_a_restart_of_the_server_during_a_run(own_server: tuple[embedded.Server, Database]) -> None:
    server, database = own_server
    words: list[str] = []
    session = database.connect()
    session.execute('BEGIN; SELECT count(*) FROM "Member"')
    run = threading.Thread(target=lambda: words.append(failed(database, *POINTS)))
    run.start()
    # Wait until only the reader blocks it.
    last = "SELECT 1 FROM django_migrations WHERE app = 'council' AND name ~ '^0001'"
    wait_until(
        lambda: (
            database.fetch("SELECT to_regclass('django_migrations')") != [(None,)]
            and database.fetch(last) != []
        )
    )
    server.stop()
    run.join()
    session.close()

    assert "The connection was lost" in words[0] or "The server was restarted" in words[0]
    assert "run `manage.py migrate` again" in words[0]
    server.start()
    assert_completes(database, *POINTS)


def test_a_read_only_replica(own_server: tuple[embedded.Server, Database]) -> None:
    server, database = own_server
    server.stop()
    data = server.home / "data"
    (data / "standby.signal").touch()
    owner = data.stat()
    binaries = installation.reachable_binaries(
        server.found_binaries, home=server.home, account=installation.Account(owner.st_uid, owner.st_gid)
    )
    options = [f"--{name}={value}" for name, value in server.options.items()]
    place = [f"--unix_socket_directories={server.address.host}", "--listen_addresses="]
    standby = subprocess.Popen(
        [str(binaries / "postgres"), "-D", str(data), *place, *options],
        cwd=data,
        user=owner.st_uid,
        group=owner.st_gid,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _ask(database) == "in_recovery")

        assert (
            "The server is a read-only replica. Nothing was changed. Set DIRECT_URL to the primary."
            in failed(database, *POINTS)
        )
        database.execute("SELECT pg_promote()")
        assert_completes(database, *POINTS)
    finally:
        standby.terminate()
        standby.wait()
        (data / "standby.signal").unlink(missing_ok=True)


def _ask(database: Database) -> str:
    try:
        return "in_recovery" if database.fetch("SELECT pg_is_in_recovery()") == [(True,)] else "no"
    except Exception as error:
        return type(error).__name__


def test_a_server_that_is_too_old(scratch: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch.close()
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "OLDEST_POSTGRESQL", 99)
        with pytest.raises(
            CommandError, match=r"PostgreSQL 99 or later is required \(found 1[58].*\nUse PostgreSQL 15 to 18"
        ):
            call_command("migrate", database="scratch", verbosity=0)

    call_command("migrate", *ADOPTED, database="scratch", verbosity=0)


def test_rows_that_break_a_key_are_named(v1: Database) -> None:
    v1.manage("migrate", "gamification", "0001")
    v1.execute(
        """INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('p', 'nobody', 'x', 1)"""
    )

    words = failed(v1, *VALID_KEYS)

    assert 'Foreign key "PointTransaction_memberId_fkey" of "PointTransaction" cannot be validated' in words
    assert """1 row with "memberId" = 'nobody'""" in words
    v1.execute("""DELETE FROM "PointTransaction" WHERE "memberId" = 'nobody'""")
    assert_completes(v1, *VALID_KEYS)


def test_a_lock_held_outside_of_a_migration_is_not_reported_as_a_dead_host(
    v1: Database,
) -> None:
    assert v1.manage("migrate", *ADOPTED).returncode == 0
    with v1.connect() as other, other.transaction():
        other.execute("LOCK TABLE django_migrations")

        words = failed(v1, *ADOPTED, DATABASE_URL=f"{v1.url}&options=-c%20lock_timeout%3D100ms")

    assert "canceling statement due to lock timeout" in words
    assert "A lock is held by another session" in words
    assert_completes(v1, *ADOPTED)


def test_other_errors_are_not_reported_as_a_lost_connection() -> None:
    assert failures.cure(NotSupportedError("cannot run in a transaction")) == "Fix what the message names."
    assert failures.cure(OperationalError("server closed the connection unexpectedly")).startswith(
        "The connection was lost."
    )
