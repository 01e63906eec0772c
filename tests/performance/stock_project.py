"""A small Django project with the same schema change, written for Django itself and for two packages."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg

from tests.performance.runs import Run

SETTINGS = """
from psycopg.conninfo import conninfo_to_dict
import os
given = conninfo_to_dict(os.environ["STOCK_URL"])
DATABASES = {"default": {"ENGINE": os.environ["STOCK_ENGINE"], "NAME": given["dbname"], "USER": given["user"],
                         "HOST": given["host"], "PORT": given.get("port", "5432")}}
INSTALLED_APPS = ["stock"] + os.environ["STOCK_APPS"].split()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
ZERO_DOWNTIME_MIGRATIONS_LOCK_TIMEOUT = "250ms"
ZERO_DOWNTIME_MIGRATIONS_STATEMENT_TIMEOUT = "0"
ZERO_DOWNTIME_MIGRATIONS_RAISE_FOR_UNSAFE = False
"""
MEMBER = """
from django.db import migrations, models
class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Member", [("id", models.TextField(primary_key=True))],
                                         options={"db_table": "Member"})]
"""
COLUMNS = """
from django.db import migrations, models
class Migration(migrations.Migration):
    dependencies = [("stock", "0001_member")]
    operations = [
        migrations.AddField("member", "current_streak", models.IntegerField(db_column="currentStreak", db_default=0)),
        migrations.AddField("member", "last_active_at", models.DateTimeField(db_column="lastActiveAt", null=True)),
        migrations.AddField("member", "total_points", models.IntegerField(db_column="totalPoints", db_default=0)),
    ]
"""
TABLES = """
from django.db import migrations, models
def table(name):
    return migrations.CreateModel(name, [
        ("id", models.TextField(primary_key=True)),
        ("member", models.ForeignKey("stock.Member", models.CASCADE, db_column="memberId")),
        ("data", models.JSONField(null=True)),
        ("created_at", models.DateTimeField(db_column="createdAt", auto_now_add=True)),
    ], options={"db_table": name})
class Migration(migrations.Migration):
    dependencies = [("stock", "0002_columns")]
    operations = [table(name) for name in ("PointTransaction", "DiscordActivity", "ResourceDownload",
                                           "BenchmarkSubmission")]
"""
INDEXES = """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = [("stock", "0003_tables")]
    operations = [
        {add_index}("member", models.Index(fields=["-total_points"], name="member_total_points")),
        {add_index}("pointtransaction", models.Index(fields=["created_at"], name="point_created_at")),
    ]
"""
TIMEOUTS = [
    "--lock-timeout-in-ms=250",
    "--lock-timeout-max-retries=100",
    "--lock-timeout-retry-max-wait-in-ms=10000",
]


def is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def stock_django(url: str, run: Run) -> None:
    """Uses Django's own backend and command."""
    _migrate(url, run, engine="django.db.backends.postgresql", command=["migrate"])


def zero_downtime_migrations(url: str, run: Run) -> None:
    """Uses django-pg-zero-downtime-migrations with its recommended settings and a lock timeout of 250 ms."""
    _migrate(url, run, engine="django_zero_downtime_migrations.backends.postgres", command=["migrate"])


def migration_tools(url: str, run: Run) -> None:
    """Uses django-pg-migration-tools: `migrate_with_timeouts` with 250 ms, a hundred tries, concurrent indexes."""
    _migrate(
        url,
        run,
        engine="django.db.backends.postgresql",
        command=["migrate_with_timeouts", *TIMEOUTS],
        apps="django_pg_migration_tools",
        concurrently=True,
    )


def _migrate(
    url: str, run: Run, *, engine: str, command: list[str], apps: str = "", concurrently: bool = False
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        migrations = folder / "stock" / "migrations"
        migrations.mkdir(parents=True)
        (folder / "stock" / "__init__.py").touch()
        (migrations / "__init__.py").touch()
        (folder / "stock_settings.py").write_text(SETTINGS)
        (migrations / "0001_member.py").write_text(MEMBER)
        (migrations / "0002_columns.py").write_text(COLUMNS)
        (migrations / "0003_tables.py").write_text(TABLES)
        add_index = "AddIndexConcurrently" if concurrently else "migrations.AddIndex"
        (migrations / "0004_indexes.py").write_text(
            INDEXES.format(atomic=not concurrently, add_index=add_index)
        )
        environment = {
            **os.environ,
            "PYTHONPATH": name,
            "DJANGO_SETTINGS_MODULE": "stock_settings",
            "STOCK_URL": url,
            "STOCK_ENGINE": engine,
            "STOCK_APPS": apps,
        }
        _record_member(url)
        run.began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "django", *command],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout
        with process.stdout as lines:
            for line in lines:
                if match := re.match(r"  Applying (\S+)\.\.\. OK", line):
                    run.steps.append((time.monotonic(), match[1]))
        run.status = process.wait()


def _record_member(url: str) -> None:
    """Record the existing table's migration as applied, like `migrate --fake`."""
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(
            """CREATE TABLE IF NOT EXISTS django_migrations (id bigint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY,
               app varchar(255) NOT NULL, name varchar(255) NOT NULL, applied timestamptz NOT NULL);
               INSERT INTO django_migrations (app, name, applied) VALUES ('stock', '0001_member', now())"""
        )
