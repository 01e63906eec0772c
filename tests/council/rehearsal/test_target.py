"""What a rehearsal removes, and what it leaves alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from council.rehearsal import target

pytestmark = pytest.mark.any_server


def left_by(pid: int, place: Path) -> Path:
    """Create the folder of another process's rehearsal, with a file of its server."""
    folder = place / f"{target.PREFIX}{pid}-abc"
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "kept").touch()
    return folder


@pytest.fixture
def dead() -> int:
    """Return the id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_second_rehearsal_does_not_touch_the_first_one_s_server(tmp_path: Path, dead: int) -> None:
    running, killed = left_by(os.getppid(), tmp_path), left_by(dead, tmp_path)
    others = tmp_path / f"{target.PREFIX}mine"
    others.mkdir()
    with target._temporary_folder(tmp_path) as made:
        assert set(tmp_path.iterdir()) == {running, others, made}
        assert (running / "postgres" / "kept").exists()
        assert not killed.exists()
    assert set(tmp_path.iterdir()) == {running, others}


def test_a_process_of_another_user_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert target._is_alive(1)
