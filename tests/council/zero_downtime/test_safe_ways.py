"""Other people's migrations on tables in use have the same result as Django's, without long locks."""

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connections, migrations, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from council.zero_downtime import partial_progress, safe_ways
from council.zero_downtime.executor import Executor
from council.zero_downtime.lock_modes import BY_NAME
from council.zero_downtime.observer import Observer
from council.zero_downtime.retries import Patience
from tests.council.zero_downtime.test_deploy import Deploy, deploy, open_transaction
from tests.databases import SCRATCH, Database

__all__ = ["deploy"]

pytestmark = pytest.mark.django_db

PLAIN = {"DJANGO_SETTINGS_MODULE": "tests.plain.settings"}
FIRST, EVERYTHING, BESIDE, IN_STEPS, MORE = (
    "0001_initial",
    "0002_everything",
    "0003_python_beside",
    "0004_python_in_steps",
    "0005_unique_keys_and_defaults",
)
ROWS = """
INSERT INTO plain_author (name, email, score) SELECT 'a' || n, 'e' || n, n FROM generate_series(1, 100) AS n;
INSERT INTO plain_book (title) SELECT 'b' || n FROM generate_series(1, 100) AS n;
"""
# For MORE, which gives defaults to what is NULL: before EVERYTHING refuses that.
NULLS = (
    "UPDATE plain_author SET score = NULL WHERE id % 3 = 0; UPDATE plain_book SET code = 'c' WHERE id % 2 = 0"
)
MANY = "UPDATE pg_class SET reltuples = 1000000, relpages = 20000 WHERE relname IN ('plain_author', 'plain_book')"
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, contype, convalidated, pg_get_constraintdef(oid) FROM pg_constraint
 WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
"""
INDEXES = """
SELECT indexrelid::regclass::text, indisvalid, pg_get_indexdef(indexrelid) FROM pg_index
 WHERE indrelid::regclass::text LIKE 'plain%' ORDER BY 1
"""
COLUMNS = """
SELECT attrelid::regclass::text, attnum, attname, format_type(atttypid, atttypmod), attnotnull, atthasdef
  FROM pg_attribute WHERE attrelid::regclass::text LIKE 'plain%' AND attnum > 0 ORDER BY 1, 2
"""
AUTHORS = "SELECT to_jsonb(a) FROM plain_author AS a ORDER BY id"
BOOKS = "SELECT to_jsonb(b) FROM plain_book AS b ORDER BY id"
RECORD = "SELECT app, name FROM django_migrations ORDER BY id"


class Died(BaseException):
    """Stands for the death of the process."""


def load(name: str) -> Migration:
    made: Migration = import_module(f"tests.plain.migrations.{name}").Migration(name, "plain")
    return made


def way(migration: Migration, state: ProjectState) -> Migration:
    """Return the safe way of a migration."""
    return safe_ways._Way(connections[SCRATCH], migration, state.clone()).migration()


def begin(database: Database, connection: BaseDatabaseWrapper, migration: str = EVERYTHING) -> ProjectState:
    """Have the migrations before one applied, by Django, and some rows."""
    connection.close()
    database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    executor: Any = MigrationExecutor(connection)
    executor.recorder.ensure_schema()
    state: ProjectState = executor.apply_migration(ProjectState(), load(FIRST))
    database.execute(ROWS)
    if migration == MORE:
        for name in (EVERYTHING, BESIDE, IN_STEPS):
            state = executor.apply_migration(state, load(name))
        database.execute(NULLS)
    return state


def contents(database: Database) -> dict[str, Any]:
    return {query: database.fetch(query) for query in (CONSTRAINTS, INDEXES, COLUMNS, AUTHORS, BOOKS, RECORD)}


@contextmanager
def ours(connection: BaseDatabaseWrapper) -> Iterator[Executor]:
    with Observer(connection, lambda event: None) as observer:
        executor = Executor(connection, observer=observer, patience=Patience())
        executor.planned, executor.finished, executor.wanted = 1, 0, {}
        yield executor


@pytest.fixture(params=[EVERYTHING, MORE])
def name(request: pytest.FixtureRequest) -> str:
    """A migration that is run in steps."""
    return str(request.param)


@pytest.fixture
def as_django_makes_it(database: Database, scratch: BaseDatabaseWrapper, name: str) -> dict[str, Any]:
    executor: Any = MigrationExecutor(scratch)
    executor.apply_migration(begin(database, scratch, name), load(name))
    return contents(database)


class Locks:
    """Records the locks of each statement that changes the schema, within its transaction."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.seen: list[tuple[str, set[tuple[str, str]]]] = []

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        text = str(sql)
        if not re.match("ALTER|CREATE", text) or "CONCURRENTLY" in text or "TEMPORARY" in text:
            return execute(sql, params, many, context)
        with transaction.atomic(using=SCRATCH):
            before = self.held()
            result = execute(sql, params, many, context)
            self.seen.append((text, self.held() - before))
        return result

    def held(self) -> set[tuple[str, str]]:
        with self.connection.connection.cursor() as cursor:
            return {
                (table, mode)
                for table, mode in cursor.execute(
                    "SELECT relation::regclass::text, mode FROM pg_locks WHERE pid = pg_backend_pid() AND granted "
                    "AND relation::regclass::text IN ('plain_author', 'plain_book')"
                ).fetchall()
            }


def test_the_result_equals_django_s_and_no_statement_blocks_writers_during_a_scan(
    database: Database, scratch: BaseDatabaseWrapper, as_django_makes_it: dict[str, Any], name: str
) -> None:
    state = begin(database, scratch, name)
    in_steps = way(load(name), state)
    locks = Locks(scratch)
    with ours(scratch) as executor, scratch.execute_wrapper(locks):
        after = executor.apply_migration(state, in_steps)

    assert contents(database) == as_django_makes_it
    expected = state.clone()
    load(name).mutate_state(expected, preserve=False)
    assert after.models == expected.models
    instants = re.compile(
        "ADD COLUMN|(DROP|SET) DEFAULT| NOT VALID|TYPE varchar|SET NOT NULL|DROP CONSTRAINT|DROP INDEX| USING INDEX"
    )
    felt = [
        (sql, table, mode)
        for sql, held in locks.seen
        for table, mode in held
        if mode in {"AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock"}
    ]
    assert [sql for sql, *_ in felt if not instants.search(sql) and "plain_shelf" not in sql] == []
    validated = {sql: held for sql, held in locks.seen if "VALIDATE" in sql and "plain_shelf" not in sql}
    assert len(validated) == {EVERYTHING: 4, MORE: 5}[name]
    for sql, held in validated.items():
        assert {BY_NAME[mode] for _, mode in held} <= {
            BY_NAME["ShareUpdateExclusiveLock"],
            BY_NAME["RowShareLock"],
            BY_NAME["AccessShareLock"],
        }, sql


def test_a_run_killed_before_any_statement_is_finished_by_the_next_run(
    database: Database, scratch: BaseDatabaseWrapper, as_django_makes_it: dict[str, Any], name: str
) -> None:
    """A dead process sends nothing more, not even statements that would clean up."""
    passed = 0

    def die(execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        nonlocal passed
        passed += bool(re.match("ALTER|CREATE|DROP|UPDATE|INSERT INTO .django_migrations", str(sql)))
        if passed >= at:
            raise Died
        return execute(sql, params, many, context)

    at, points = 1, 0
    while True:
        state = begin(database, scratch, name)
        migration = load(name)
        passed = 0
        try:
            with ours(scratch) as executor, scratch.execute_wrapper(die):
                executor.apply_migration(state, way(migration, state))
        except Died:
            scratch.close()
        else:
            break
        with ours(scratch) as executor:
            executor.apply_migration(state, way(migration, state))
        assert contents(database) | {RECORD: []} == as_django_makes_it | {RECORD: []}, at
        assert {record for _, record in database.fetch(RECORD)} == {
            record for _, record in as_django_makes_it[RECORD]
        }
        points += 1
        at += 3
    assert points > 10


@pytest.mark.parametrize("name", [EVERYTHING], indirect=True)
def test_a_run_killed_during_an_index_build_is_finished_by_the_next_run(
    database: Database,
    scratch: BaseDatabaseWrapper,
    as_django_makes_it: dict[str, Any],
    deploy: Callable[..., Deploy],
) -> None:
    begin(database, scratch)
    with open_transaction(database, "LOCK TABLE plain_author IN ROW EXCLUSIVE MODE"):
        run = deploy(database, "plain", "0002", **PLAIN)
        run.wait_for("waiting, ")
        with database.connect() as gateway:
            gateway.execute("SET lock_timeout = '1s'")
            gateway.execute("UPDATE plain_author SET name = 'other' WHERE id = 1")
        run.process.send_signal(signal.SIGKILL)
        run.finish()
    assert database.fetch(RECORD)[-1] == ("plain", "0002_everything [1 of 14 operations done]")

    second = deploy(database, "plain", "0002", MIGRATE_IN_STEPS="none", **PLAIN)

    assert second.finish() == 0, second.output
    others: dict[str, Any] = {RECORD: [], AUTHORS: []}
    assert contents(database) | others == as_django_makes_it | others
    assert [name for _, name in database.fetch(RECORD)] == [FIRST, EVERYTHING]
    assert "Build index plain_author_name on author concurrently, instead of: Create index" in run.output


@pytest.mark.any_server
def test_the_plan_shows_replaced_operations_and_refusals(
    database: Database, scratch: BaseDatabaseWrapper
) -> None:
    begin(database, scratch)
    database.execute(MANY)

    plan = database.manage("migrate", "plain", "--plan", check=False, **PLAIN).stdout

    lines = plan.splitlines()
    begun = lines.index("  Build index plain_author_name on author concurrently  (not in a transaction)")
    assert lines[begun + 1] == (
        "    instead of: Create index plain_author_name on field(s) name, -score of model author"
    )
    assert lines[begun + 2].startswith('    SHARE UPDATE EXCLUSIVE on "plain_author" for about ')
    assert plan.count("instead of: Alter field email on author") == 4
    assert "  Create index plain_author_score on field(s) score of model author\n" in plan
    assert lines[-1] == "Without --accept-risks, migrate refuses this plan because of 2 operations."

    as_it_is = database.manage("migrate", "plain", "--plan", check=False, MIGRATE_IN_STEPS="none", **PLAIN)
    assert "instead of" not in as_it_is.stdout
    assert "  Create index plain_author_name on field(s) name, -score of model author\n" in as_it_is.stdout


def test_an_atomic_migration_with_python_is_not_changed_but_a_non_atomic_one_is(
    database: Database, scratch: BaseDatabaseWrapper
) -> None:
    state = begin(database, scratch)
    load(EVERYTHING).mutate_state(state, preserve=False)
    assert not safe_ways._Way(scratch, load(BESIDE), state.clone()).is_separable
    in_steps = safe_ways._Way(scratch, load(IN_STEPS), state.clone())
    assert in_steps.is_separable
    assert [type(operation).__name__ for operation in in_steps.operations] == [
        "RunPython",
        "AddIndexConcurrently",
    ]
    assert not in_steps.operations[0].atomic


@pytest.mark.parametrize(
    "operation",
    [
        migrations.RemoveField("author", "name"),
        migrations.RenameField("author", "name", "called"),
        migrations.RunSQL("SELECT 1"),
        migrations.RemoveConstraint("author", "plain_score"),
        migrations.AlterField("author", "name", models.CharField(max_length=100, db_column="called")),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_old_constraints_are_removed_only_after_everything_else_is_done(
    scratch: BaseDatabaseWrapper, operation: Any
) -> None:
    state = ProjectState()
    for name in (FIRST, EVERYTHING):
        load(name).mutate_state(state, preserve=False)
    operations = [load(BESIDE).operations[0], operation]
    migration: Migration = type("Migration", (Migration,), {"operations": operations})("0005", "plain")
    assert not safe_ways._Way(scratch, migration, state).is_separable


def test_an_empty_database_runs_migrations_as_they_were_written(scratch: BaseDatabaseWrapper) -> None:
    executor = MigrationExecutor(scratch)
    for migration, _ in safe_ways.plan(executor, executor.loader.graph.leaf_nodes()):
        assert migration is executor.loader.disk_migrations[migration.app_label, migration.name]


def test_only_the_apps_in_the_setting_take_safe_ways(
    database: Database, scratch: BaseDatabaseWrapper, settings: Any
) -> None:
    target = ("otp_totp", "0002_auto_20190420_0723")
    recorder = MigrationRecorder(scratch)
    recorder.ensure_schema()
    database.execute("CREATE TABLE otp_totp_totpdevice (id integer)")

    def is_changed() -> bool:
        executor = MigrationExecutor(scratch)
        *_, (migration, _) = safe_ways.plan(executor, [target])
        return migration is not executor.loader.disk_migrations[target]

    assert is_changed()
    settings.MIGRATE_IN_STEPS = ["sessions"]
    assert not is_changed()
    steps = partial_progress.NAME_LENGTH  # a number that does not match
    recorder.record_applied(target[0], f"{target[1]} [1 of {steps} operations done]")
    assert not is_changed()
    recorder.record_applied(target[0], f"{target[1]} [1 of 2 operations done]")
    MigrationRecorder.Migration.objects.using(SCRATCH).filter(name__contains=f"of {steps} ").delete()
    assert is_changed()  # it was begun operation by operation
    settings.MIGRATE_IN_STEPS = ["nowhere"]
    with pytest.raises(CommandError, match="MIGRATE_IN_STEPS: No installed app with label 'nowhere'"):
        is_changed()
