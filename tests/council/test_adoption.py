"""Migrating databases in any state of production: a sample of `python -m tests.adoption`, and cases beyond it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from django.core.management import CommandError

from tests.adoption import refusals, states
from tests.adoption.walk import Walk, migrate_connected
from tests.council.zero_downtime.test_deploy import Deploy, deploy
from tests.databases import ROOT, Database

__all__ = ["deploy"]

REFUSED = {state.name: state for state in refusals.refused()}


@pytest.fixture(scope="module")
def walk(
    django_db_blocker: pytest.FixtureRequest, database_name: Callable[[str], str], migrated_template: str
) -> Iterator[Walk]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        walk = Walk(database_name("adoption"), undisturbed=Database(migrated_template))
        yield walk
        walk.close()


@pytest.fixture
def unblocked(django_db_blocker: pytest.FixtureRequest, walk: Walk) -> Iterator[Walk]:
    with django_db_blocker.unblock():  # type: ignore[attr-defined]
        yield walk


def test_the_plan_in_these_tests_creates_the_contract_s_v2(unblocked: Walk) -> None:
    with unblocked.state(states.State("all of it", states.upto(states.STEPS))) as database:
        found = {line for line in database.catalog() if not line.startswith("FUNCTION")}
    contract = (states.SCHEMA / "v2.catalog").read_text().splitlines()
    assert found == {line for line in contract if not line.startswith("ORDINAL|")}


SAMPLE = [
    next(state for state in states.on_the_way() if state.name == "statement 10 of the plan, in step 1"),
    next(state for state in states.on_the_way() if state.name == "statement 19 of the plan, in step 3"),
]


@pytest.mark.parametrize("state", SAMPLE, ids=lambda state: state.name)
def test_migrate_finishes_what_the_gateway_s_tool_began(unblocked: Walk, state: states.State) -> None:
    fault = unblocked.try_state(state)

    assert fault is None, fault


def test_variants_are_replaced_while_every_rule_always_holds(db: None) -> None:
    """A second session tries to break each rule before and after every change: unique, keys, the trigger's count."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "tests.adoption"),
            *("--only", "watched", "--named", "all at once", "--lanes", "1"),
        ],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "Tried 1: 1 watched." in result.stdout


def test_a_migrate_killed_at_random_during_writes_is_finished_by_the_next(db: None) -> None:
    """Tries one of the states. `python -m tests.adoption` tries all."""
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.adoption",
            "--only",
            "killed",
            "--first",
            "10",
            "--every",
            "30",
            "--lanes",
            "1",
        ],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    assert "Tried 1: 1 killed." in result.stdout


@pytest.mark.parametrize("name", REFUSED)
def test_other_states_are_refused_with_every_difference_and_not_changed(unblocked: Walk, name: str) -> None:
    state = REFUSED[name]

    fault = unblocked.try_state(states.State(name, state.statements, state.says, refused=True))

    assert fault is None, fault


def test_a_role_that_owns_only_some_tables_is_refused_before_anything_is_done(
    unblocked: Walk,
) -> None:
    role = f"{unblocked.name}_role"
    with unblocked.state(states.State("owners", states.upto(2)), purpose="owners") as database:
        with database.connect() as session:
            session.execute(f"DROP ROLE IF EXISTS {role}".encode())
            session.execute(f"CREATE ROLE {role} LOGIN".encode())
            session.execute(f"GRANT ALL ON SCHEMA public TO {role}".encode())
            for table in states.tables(session):
                if table not in {"Resource", "StripeEvent"}:
                    session.execute(f'ALTER TABLE "{table}" OWNER TO {role}'.encode())
        try:
            before = database.catalog()
            with database.as_django_connection() as connection:
                connection.settings_dict["OPTIONS"] = {
                    **connection.settings_dict["OPTIONS"],
                    "options": f"-c role={role}",
                }
                with pytest.raises(CommandError) as caught:
                    migrate_connected()
            lines = [line.strip() for line in str(caught.value).splitlines() if line.startswith("  ")]
            assert [line.split(":")[0] for line in lines] == [
                "owner      table Resource"
            ]  # but not StripeEvent, which no migration alters
            assert f"and the role {role} is not a member of " in lines[0]
            assert database.catalog() == before
        finally:
            database.execute(
                f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}"
            )


def test_a_build_that_still_runs_without_its_client_is_waited_for(
    unblocked: Walk, deploy: Callable[..., Deploy]
) -> None:
    step = 5
    sql = states.upto(step)[-1]
    with unblocked.state(states.State("build", states.upto(step - 1)), purpose="build") as database:
        client = database.connect()
        with database.connect() as gateway:
            gateway.execute("BEGIN")
            gateway.execute('LOCK TABLE "BenchmarkSubmission" IN ROW EXCLUSIVE MODE')
            client.pgconn.send_query(sql.encode())
            states.wait_for_build(database)
            client.pgconn.finish()  # the client is gone, but the server process goes on
            run = deploy(database, "benchmarks", "0004")
            run.wait_for("waiting, .*CREATE INDEX CONCURRENTLY")
            gateway.execute("COMMIT")
            assert run.finish(seconds=120) == 0, run.output
        rows = database.fetch(
            """SELECT indisvalid FROM pg_index WHERE indexrelid = '"BenchmarkSubmission_memberId_idx"'::regclass"""
        )
        assert rows == [(True,)]


def test_before_the_first_migrate_verify_schema_says_what_exists(unblocked: Walk) -> None:
    statements = (*states.upto(9), *states.UNIQUE_CONSTRAINT, states.invalid("Resource_type_idx"))
    with unblocked.state(states.State("between", statements), purpose="verify") as database:
        between = " ".join(database.manage("verify_schema", check=False).stdout.split())
        database.execute('ALTER TABLE "Resource" ADD notes text')
        refused = " ".join(database.manage("verify_schema", check=False).stdout.split())
    assert "No migration has run here. The 9 tables of the baseline exist and match it." in between
    assert (
        "4 of 4 enums, 3 of 3 columns, 5 of 5 tables, 5 of 5 foreign keys, 7 of 17 indexes, 0 of 1 triggers"
        in between
    )
    assert "not finished: Resource_type_idx (INVALID)." in between
    assert (
        'It replaces one object: found UNIQUE ("memberId", category) as BenchmarkSubmission_memberId_'
        in between
    )
    assert "extra column Resource.notes: found text. migrate refuses this and changes nothing." in refused


def test_for_an_empty_database_verify_schema_says_that_migrate_builds_all(database: Database) -> None:
    told = " ".join(database.manage("verify_schema", check=False).stdout.split())

    assert "none of the 9 tables of the baseline exists: migrate builds everything." in told
