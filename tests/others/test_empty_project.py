"""The instructions of docs/operations_elsewhere.md, followed in an empty project."""

import re
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
"""
KEY_AND_INDEX = """
    class Meta:
        constraints = [
            ForeignKeyConstraint(
                name="order_customer_fkey", field="customer", on_delete="CASCADE", on_update="CASCADE"
            )
        ]
        indexes = [models.Index(name="order_placed_at_idx", fields=["placed_at"])]
"""
# Written by hand, for a project that uses Django's own migrate and makemigrations.
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
    """An empty Django project with one app and the files that the page says to copy for the operations alone."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        (folder / "shop/migrations").mkdir(parents=True)
        for file in ("shop/__init__.py", "shop/migrations/__init__.py"):
            (folder / file).touch()
        self.models = folder / "shop/models.py"
        self.models.write_text(MODELS)
        (folder / "settings.py").write_text('SECRET_KEY = "for tests only"\n')
        self.follow(0)

    def follow(self, part: int) -> None:
        """Do what a part of the page says: copy the files, and add the settings."""
        script = blocks("sh")[part].replace("/path/to/council-project", str(ROOT))
        subprocess.run(["/bin/bash", "-euc", script], cwd=self.folder, check=True)
        with (self.folder / "settings.py").open("a") as settings:
            settings.write(blocks("python")[part])

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


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    return Project(tmp_path / "project", database)


def assert_has_key_and_index(database: Database) -> None:
    assert ("order_placed_at_idx",) in database.fetch(INDEXES)
    assert database.fetch(VALID_KEYS) == [("order_customer_fkey",)]


def test_the_operations_work_with_django_s_own_migrate(project: Project, database: Database) -> None:
    project.run("makemigrations", "shop")
    project.models.write_text(MODELS + KEY_AND_INDEX)
    (project.folder / "shop/migrations/0002_by_hand.py").write_text(BY_HAND)

    project.run("migrate")

    assert_has_key_and_index(database)
    project.run("makemigrations", "--check")


def test_the_commands_write_plan_and_run_migrations(project: Project, database: Database) -> None:
    project.follow(1)
    project.run("makemigrations", "shop")
    project.run("migrate")
    project.models.write_text(MODELS + KEY_AND_INDEX)

    project.run("makemigrations", "shop")

    assert "CREATE INDEX CONCURRENTLY" in project.run("migrate", "--plan")
    assert "Applied shop." in project.run("migrate")
    assert_has_key_and_index(database)
    project.run("lint_migrations")
