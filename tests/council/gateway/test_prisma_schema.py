"""The gateway's schema file, generated from the models, and read by Prisma itself."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from council.gateway import prisma_schema
from tests.databases import ROOT, Database

pytestmark = pytest.mark.any_server

PACKAGES = ["prisma@7.10.0", "@prisma/client@7.10.0", "@prisma/adapter-pg@7.10.0"]
FOLDER = ROOT / "build" / "prisma"
HEAD = """\
generator client {
  provider = "prisma-client-js"
  output   = "./client"
}

datasource db {
  provider = "postgresql"
}

"""
INSTALL = "npm install --ignore-scripts --no-package-lock --no-audit --no-fund --silent --prefix"


@pytest.fixture
def prisma() -> Iterator[Path]:
    """A folder with Prisma, the schema file and the client generated from it, for one test at a time."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _prepare()
        yield FOLDER


def _prepare() -> None:
    if not (FOLDER / "node_modules" / "prisma").exists():
        (FOLDER / "package.json").write_text('{"private": true}\n')
        install = subprocess.run(
            [*INSTALL.split(), str(FOLDER), *PACKAGES], capture_output=True, text=True, check=False
        )
        if install.returncode:
            pytest.skip(f"Prisma could not be installed: {install.stderr.strip()[:300]}")
    (FOLDER / "schema.prisma").write_text(HEAD + prisma_schema.write())
    for act in ("validate", "generate"):
        run(FOLDER, str(FOLDER / "node_modules" / ".bin" / "prisma"), act, "--schema", "schema.prisma")


def run(folder: Path, *command: str, **environment: str) -> str:
    """Run a command of Prisma. It needs no engine, so any program stands for one and nothing is downloaded."""
    result = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PRISMA_SCHEMA_ENGINE_BINARY": str(shutil.which("true")),
            "CHECKPOINT_DISABLE": "1",
            "PRISMA_HIDE_UPDATE_MESSAGE": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_prisma_s_client_writes_and_reads_each_table_with_our_schema_file(
    migrated: Database, prisma: Path
) -> None:
    script = str(Path(__file__).with_name("prisma_round.cjs"))

    told = json.loads(run(prisma, "node", script, str(prisma), DATABASE_URL=migrated.url))

    assert told == {
        "id": told["id"],
        "jobTitle": "Founder",
        "totalPoints": 0,
        "notifications": [],
        "moved": True,
        "paymentFailedAt": "2026-03-04T05:06:07.089Z",
        "invite": "secret",
        "points": [25, -25],
        "reversals": 1,
        "key": f"intro_completed:{told['id']}",
        "downloads": ["Guide"],
        "status": "PUBLISHED",
        "submission": {"gtm_engineer_us": 100000},
        "activities": 1,
        "counts": {
            **dict.fromkeys(["admin", "featureFlag", "emailTemplate", "stripeEvent", "reconciliationRun"], 1),
            "auditLog": 1,
        },
    }


def test_the_schema_file_has_every_shared_table_and_column(migrated: Database) -> None:
    blocks = prisma_schema._lines(prisma_schema.write())
    columns = {
        (f"model {table}", column)
        for table, column in migrated.fetch(
            """SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"""
        )
        if table in prisma_schema.TABLES
    }

    told = {(block, line.split(" ")[0]) for block, lines in blocks.items() for line in lines}

    assert len({block for block, _ in columns}) == len(prisma_schema.TABLES)
    assert columns <= told


CHANGES: list[Any] = [
    ("  jobTitle String?\n", "", "model Member: missing jobTitle String?"),
    (
        "  points Int\n",
        "  points BigInt\n",
        "model PointTransaction: not in the database's schema points BigInt",
    ),
    ("  OWNER\n", "", "enum SeatTier: missing OWNER"),
    ("model Admin {", "model Administrator {", "model Admin is missing"),
    (
        ", type: Gin",
        "",
        'model BenchmarkSubmission: missing @@index([data(ops: JsonbPathOps)], map: "Benchmark',
    ),
]


@pytest.mark.parametrize(("old", "new", "words"), CHANGES)
def test_check_lists_what_differs(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = prisma_schema.write()
    assert old in text
    file = tmp_path / "schema.prisma"
    file.write_text(text.replace(old, new, 1))

    with pytest.raises(CommandError) as refused:
        call_command("prisma_schema", check=file)

    assert words in str(refused.value)


def test_check_ignores_spaces_order_and_other_models(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = prisma_schema.write().replace("  points Int\n", "    points    Int   // how many\n")
    file = tmp_path / "schema.prisma"
    file.write_text(f"{HEAD}// ours\nmodel Session {{\n  id String @id\n}}\n\n{text}")

    call_command("prisma_schema", check=file)

    assert "agrees with the database's schema." in capsys.readouterr().out


def test_check_ignores_partial_indexes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the feature is on, `prisma db pull` writes them. Our file is valid in both cases."""
    text = prisma_schema.write()
    assert "where:" not in "".join(line for line in text.splitlines() if not line.startswith("//"))
    partial = """@@unique([idempotencyKey], map: "key", where: raw("(\\"idempotencyKey\\" IS NOT NULL)"))"""
    file = tmp_path / "schema.prisma"
    file.write_text(text.replace("  points Int\n", f"  points Int\n  {partial}\n", 1))

    call_command("prisma_schema", check=file)

    assert "agrees with the database's schema." in capsys.readouterr().out


def test_a_missing_file_gives_a_message(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read: .* Give the path of a schema.prisma."):
        call_command("prisma_schema", check=tmp_path / "nowhere")
