"""Comparison of two databases in which a group of apps was migrated, one by Django and one by us."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]
STOCK = "django.db.backends.postgresql"
ENGINES = {"stock": STOCK, "to": STOCK, "ours": "council.postgres", "plan": "council.postgres"}
# Names and definitions of everything in a schema. PostgreSQL 18 lists NOT NULL as a constraint, too.
CATALOGUE = """
    SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull
           || ' ' || a.attidentity::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
      FROM pg_class c
      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
    UNION ALL
    SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) || ' ' || convalidated
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
    UNION ALL
    SELECT indexname || ' ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'invalid ' || indexrelid::regclass FROM pg_index WHERE NOT indisvalid
    UNION ALL
    SELECT 'sequence ' || sequencename || ' ' || data_type FROM pg_sequences WHERE schemaname = 'public'
    UNION ALL
    SELECT 'row security ' || relname FROM pg_class WHERE relrowsecurity
    UNION ALL
    SELECT tgrelid::regclass || ' ' || tgname || ' ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 'migration ' || app || ' ' || name FROM django_migrations
"""


@dataclass(frozen=True)
class Place:
    """A server for the databases, as libpq's connection string, and the folder with the groups' packages."""

    server: str
    packages: Path

    def new(self, name: str) -> None:
        with psycopg.connect(self.server, dbname="postgres", autocommit=True) as session:
            session.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            session.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())

    def drop(self, name: str) -> None:
        with psycopg.connect(self.server, dbname="postgres", autocommit=True) as session:
            session.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def catalogue(self, name: str) -> set[str]:
        with psycopg.connect(self.server, dbname=name) as session:
            return {line for (line,) in session.execute(CATALOGUE.encode())}

    def run(self, group: str, how: str, *arguments: str, database: str) -> dict[str, Any]:
        """Run command.py. Raises Failed."""
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(ROOT / "tests/others/command.py"), how, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}{os.pathsep}{self.packages}",
                "DJANGO_SETTINGS_MODULE": "tests.others.settings_of_group",
                "GROUP": group,
                "ENGINE": ENGINES[how],
                "DATABASE_URL": f"{self.server} dbname={database}",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Failed(f"{group}, {how}: {done.stderr[-20_000:]}")
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return {**told, "process_seconds": time.perf_counter() - began}


class Failed(Exception):
    """A migrate or a plan failed."""


@dataclass
class Compared:
    stock: dict[str, Any]
    ours: dict[str, Any]
    plan: dict[str, Any]
    differences: list[str]  # between the catalogues, for each starting point


def compare(place: Place, group: str, *, database: str, beginnings: tuple[int, ...] = (0,)) -> Compared:
    """Migrate a group with both. Ours starts from an empty database, and after some percent of Django's migrations."""
    stock_name, our_name = f"{database}_stock", f"{database}_ours"
    try:
        place.new(stock_name)
        stock = place.run(group, "stock", database=stock_name)
        expected = place.catalogue(stock_name)
        differences: list[str] = []
        ours: dict[str, Any] = {}
        for percent in beginnings:
            place.new(our_name)
            if percent:
                place.run(group, "stock", str(percent), database=our_name)
            else:
                plan = place.run(group, "plan", database=our_name)
            told = place.run(group, "ours", database=our_name)
            ours = ours or told
            found = place.catalogue(our_name)
            differences += [
                f"from {percent} %, only Django makes: {line}" for line in sorted(expected - found)
            ]
            differences += [f"from {percent} %, only we make: {line}" for line in sorted(found - expected)]
        return Compared(stock, ours, plan, differences)
    finally:
        place.drop(stock_name)
        place.drop(our_name)
