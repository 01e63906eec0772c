"""Whole rehearsals, with the gateway's load, a real migrate, and real servers."""

import json
import re
from pathlib import Path

from django.db.migrations.loader import MigrationLoader

from tests.council.rehearsal.rehearsing import (
    PATIENT,
    QUICK,
    THINGS,
    dump,
    figures,
    newest_two,
    nothing_left,
    rehearse,
    unchanged,
)
from tests.databases import Database


def newest() -> str:
    """Name the migrations on which no other depends, as the state to begin with. It includes all others."""
    nodes = MigrationLoader(None).graph.node_map.values()
    return ",".join(f"{node.key[0]}.{node.key[1]}" for node in nodes if not node.children)


HARMFUL = {"DJANGO_SETTINGS_MODULE": "tests.harmful.settings"}


def test_a_database_is_rehearsed_on_a_private_server_and_only_read(
    gateway: Database, folder: Path, tmp_path: Path
) -> None:
    """The source is read with a role that may only read."""
    html, file = tmp_path / "page.html", tmp_path / "figures.json"
    gateway.execute(f'ALTER DATABASE "{gateway.name}" SET default_transaction_read_only = on')
    with unchanged(gateway), nothing_left(folder):
        result = rehearse(
            "--from-url", gateway.url, "--folder", folder, "--html", html, "--json", file, *QUICK, *PATIENT
        )

    assert result.returncode == 0, result.stdout + result.stderr
    assert f"Copy of database {gateway.name} at " in result.stdout
    assert re.search(r"^ council\.0005_member_points +\d", result.stdout, re.MULTILINE)
    assert "ACCESS EXCLUSIVE on Member" in result.stdout
    assert result.stdout.splitlines()[-1] == "PASSED: nobody waited longer than 60,000 ms."
    assert "migrations under load: " in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    found = json.loads(file.read_text())
    migrations = {migration["name"]: migration for migration in found["migrations"]}
    assert found["passed"]
    assert next(iter(migrations)) == "council.0001_baseline"
    assert len(migrations) > 40
    assert all(migration["is_finished"] for migration in migrations.values())
    points = migrations["council.0005_member_points"]
    assert {"table": "Member", "predicted": "ACCESS EXCLUSIVE"}.items() <= points["locks"][0].items()
    assert points["duration_ms"] > 0
    assert points["predicted_ms"] >= 0
    assert found["size_after_bytes"] > found["size_before_bytes"] > 0
    assert found["during"]["read"]["longest_ms"] == found["longest_read_ms"] > 0
    assert {statement["name"] for statement in found["statements"]} >= {"member by id", "update of a profile"}
    assert sum(statement["failed"] for statement in found["statements"]) == 0
    page = html.read_text()
    assert "council.0005_member_points" in page
    assert not re.search(r'(?:src|href)="(?!data:,)', page), "nothing from elsewhere"


def test_a_dump_is_rehearsed_on_an_empty_database_that_is_emptied_again(
    late: Database, place: Database, folder: Path, tmp_path: Path
) -> None:
    place.execute("CREATE SCHEMA theirs")
    file = dump(late, tmp_path / "gateway.dump", "--format=custom")

    with nothing_left(folder):
        found = figures("--from-dump", file, "--on", place.url, "--folder", folder, *PATIENT)

    assert found["passed"]
    assert found["source"] == "the custom dump gateway.dump"
    assert [migration["name"] for migration in found["migrations"]] == [f"resources.{newest_two()[0]}"]
    assert place.fetch(THINGS) == [(0,)]
    assert place.fetch("SELECT count(*) FROM pg_type WHERE typname ~ '^(Seat|Admin)'") == [(0,)]
    assert place.fetch("SELECT nspname FROM pg_namespace WHERE nspname = 'theirs'") == [("theirs",)]
    assert place.fetch("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == []


def test_a_migration_that_keeps_the_gateway_waiting_fails_the_rehearsal(place: Database) -> None:
    found = figures(
        *("--members", "300", "--from-state", newest(), "--on", place.url, "--max-wait", "700ms"),
        status=1,
        **HARMFUL,
    )

    harmful = {migration["name"]: migration for migration in found["migrations"]}
    waiting = harmful["harmful.0001_keeps_everybody_waiting"]
    assert waiting["read"]["longest_ms"] > 700
    assert waiting["write"]["longest_ms"] > 700
    assert {"table": "Member", "observed": "ACCESS EXCLUSIVE"}.items() <= waiting["locks"][0].items()
    # Without statements at fixed times, there would be only one wait for each client.
    assert waiting["read"]["count"] + waiting["write"]["count"] > 20
    broken = [statement["name"] for statement in found["statements"] if statement["failed"]]
    faults = "\n".join(found["faults"])
    assert re.search(
        r"a read waited [\d,]+ ms, but only 700 ms are allowed \(.*, in harmful.0001_keeps", faults
    )
    assert re.search(r"a write waited [\d,]+ ms, but only 700 ms are allowed", faults)
    assert "update of a profile" in broken
    assert 'column "jobTitle" of relation "Member" does not exist' in faults
    assert "migrate ended with the exit status 1: " in faults
    assert not harmful["harmful.0003_fails"]["is_finished"]
    assert place.fetch(THINGS) == [(0,)]


def test_without_pending_migrations_there_is_nothing_to_rehearse(
    migrated: Database, place: Database, tmp_path: Path
) -> None:
    html = tmp_path / "page.html"
    file = dump(migrated, tmp_path / "migrated.dump", "--format=custom")

    result = rehearse("--from-dump", file, "--on", place.url, "--html", html)

    assert result.returncode == 0, result.stderr
    assert "No migration is pending: there is nothing to rehearse." in result.stdout
    assert "there is nothing to rehearse" in html.read_text()
    assert place.fetch(THINGS) == [(0,)]


def test_a_database_that_the_migrations_refuse_fails_the_rehearsal(
    gateway: Database, place: Database, tmp_path: Path
) -> None:
    gateway.execute('ALTER TABLE "Member" ALTER "email" SET NOT NULL')
    file = dump(gateway, tmp_path / "gateway.dump", "--format=custom")

    found = figures("--from-dump", file, "--on", place.url, status=1)

    assert "migrate ended with the exit status 1" in found["faults"][0]
    assert found["migrations"] == []
