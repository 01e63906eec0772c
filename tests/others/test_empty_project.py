"""What docs/operations_elsewhere.md says: the parts to copy, and what works with them in a project of nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import ROOT, Database

pytestmark = pytest.mark.any_server

PAGE = (ROOT / "docs/operations_elsewhere.md").read_text()
MODELS = """
from django.db import models
from council.postgres.constraints import ForeignKeyConstraint


class Customer(models.Model):
    email = models.TextField()


class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    placed_at = models.DateTimeField()

    class Meta:
        constraints = [
            ForeignKeyConstraint(
                name="order_customer_fkey", field="customer", on_delete="CASCADE", on_update="CASCADE"
            )
        ]
"""
INDEX = '        indexes = [models.Index(name="order_placed_at_idx", fields=["placed_at"])]\n'
# By hand, for a project that has Django's own migrate and makemigrations.
BY_HAND = """
from django.db import migrations, models
from council import zero_downtime
from council.postgres.constraints import ForeignKeyConstraint

key = ForeignKeyConstraint(name="order_customer_fkey", field="customer", on_delete="CASCADE", on_update="CASCADE")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0001_initial")]
    operations = [
        zero_downtime.AddForeignKeyNotValid("order", key),
        zero_downtime.ValidateConstraint("order", key.name),
        zero_downtime.AddIndexConcurrently("order", models.Index(name="order_placed_at_idx", fields=["placed_at"])),
    ]
"""
INDEXES = "SELECT indexname FROM pg_indexes WHERE tablename = 'shop_order' ORDER BY 1"
VALID_KEYS = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND convalidated"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


class Project:
    """An empty Django project with one app, and what the page says to copy."""

    def __init__(self, folder: Path, database: Database, *, with_commands: bool) -> None:
        self.folder, self.database = folder, database
        for file in ("shop/__init__.py", "shop/migrations/__init__.py"):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()
        (folder / "shop/models.py").write_text(MODELS)
        copied = blocks("sh")[: 2 if with_commands else 1]
        subprocess.run(
            ["/bin/bash", "-euc", "\n".join(copied).replace("/path/to/council-project", str(ROOT))],
            cwd=folder,
            check=True,
        )
        settings = blocks("python")[: 2 if with_commands else 1]
        (folder / "settings.py").write_text('SECRET_KEY = "for tests only"\n' + "\n".join(settings))

    def run(self, *arguments: str) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=self.folder,
            env={
                **self.database.environment(DJANGO_SETTINGS_MODULE="settings"),
                "PYTHONPATH": str(self.folder),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


def test_the_operations_work_with_django_s_own_migrate(database: Database, tmp_path: Path) -> None:
    project = Project(tmp_path, database, with_commands=False)
    shutil.copy(tmp_path / "shop/models.py", tmp_path / "all_models.py")
    (tmp_path / "shop/models.py").write_text(MODELS.partition("\n    class Meta:")[0] + "\n")
    project.run("makemigrations", "shop")
    shutil.move(tmp_path / "all_models.py", tmp_path / "shop/models.py")
    (tmp_path / "shop/migrations/0002_by_hand.py").write_text(BY_HAND)

    project.run("migrate")

    assert ("order_placed_at_idx",) in database.fetch(INDEXES)
    assert database.fetch(VALID_KEYS) == [("order_customer_fkey",)]


def test_the_commands_write_plan_and_run_migrations(database: Database, tmp_path: Path) -> None:
    project = Project(tmp_path, database, with_commands=True)
    project.run("makemigrations", "shop")
    project.run("migrate")
    (tmp_path / "shop/models.py").write_text(MODELS + INDEX)

    project.run("makemigrations", "shop")

    assert "CREATE INDEX CONCURRENTLY" in project.run("migrate", "--plan")
    assert "Applied shop." in project.run("migrate")
    assert ("order_placed_at_idx",) in database.fetch(INDEXES)
    assert database.fetch(VALID_KEYS) == [("order_customer_fkey",)]
    project.run("lint_migrations")
