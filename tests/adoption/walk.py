"""Create each state, with rows in every table, migrate it, and check the result."""

import io
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

from django.core.management import CommandError, call_command

from tests.adoption import rules, states
from tests.adoption.states import State
from tests.databases import SCRATCH, Database, catalog_query
from tests.faults import points, processes
from tests.faults.facts import MORE_FACTS
from tests.faults.writer import Written, writing

HAS = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
COLUMNS = """
SELECT relname, array_agg(attname::text)
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
   AND attname NOT IN ('jobTitle', 'totalPoints', 'currentStreak', 'lastActiveAt', 'downloadCount')
 GROUP BY relname
"""
ROWS_OF = """
SELECT count(*), md5(string_agg(line, E'\\n' ORDER BY line))
  FROM (SELECT (SELECT string_agg(key || '=' || value, '|' ORDER BY key)
                  FROM jsonb_each_text(to_jsonb(t)) WHERE key = ANY(%(columns)s) AND key <> 'updatedAt') AS line
          FROM {table} t WHERE to_jsonb(t) ->> 'id' !~ '^written') AS lines
"""


class Fault(Exception):
    """A state was not migrated as it should be."""


def facts(database: Database) -> set[str]:
    """Describe the schema and the record of migrations. The order of columns does not matter."""
    with database.connect() as session:
        session.execute("SET search_path TO pg_catalog")
        found = {row[0] for row in session.execute(catalog_query(scope="all", ordinals="off"))}
        return found | {row[0] for row in session.execute(MORE_FACTS.encode())}


def columns_of(database: Database) -> dict[str, list[str]]:
    return {str(table): list(names) for table, names in database.fetch(COLUMNS)}  # type: ignore[call-overload]


def rows(database: Database, columns: dict[str, list[str]]) -> dict[str, tuple[object, ...]]:
    """Hash the rows of tables, without the figures that triggers maintain."""
    with database.connect() as session:
        found = {}
        for table, names in columns.items():
            query = ROWS_OF.format(table=f'public."{table}"').encode()
            found[table] = session.execute(query, {"columns": names}).fetchall()[0]
        return found


class Walk:
    """Holds a v1 database with rows to copy, and the result of an undisturbed migrate."""

    def __init__(self, name: str, *, undisturbed: Database | None = None) -> None:
        self.name = name
        self.points = 0  # where an undisturbed migrate could be killed, if counted
        self.template = Database(f"{name}_v1")
        self.template.drop()
        self.template.create()
        self.template.execute(states.V1 + states.ROWS)
        if undisturbed:
            self.expected = facts(undisturbed)
            return
        with self.database("undisturbed") as database:
            statements = processes.Reporter(partial(points.migrate, database)).report()
            require(bool(statements), "an undisturbed migrate failed")
            self.points = 2 * len(statements)
            self.expected = facts(database)

    def close(self) -> None:
        self.template.drop()

    @contextmanager
    def database(self, purpose: str) -> Iterator[Database]:
        database = Database(f"{self.name}_{purpose}")
        database.drop()
        database.create(template=self.template.name)
        try:
            yield database
        finally:
            database.drop()

    @contextmanager
    def state(self, state: State, *, purpose: str = "state") -> Iterator[Database]:
        with self.database(purpose) as database:
            with database.connect() as session:
                for statement in state.statements:
                    session.execute(statement.encode())
                there = {row[0] for row in session.execute(HAS)}
                for table, insert in states.PLAN_ROWS.items():
                    if table in there:
                        session.execute(f"{insert} ON CONFLICT DO NOTHING".encode())
            yield database

    def try_state(self, state: State) -> str | None:
        """Migrate a state. Returns what went wrong, if anything."""
        try:
            with self.state(state) as database:
                (self._see_refused if state.refused else self._see_adopted)(state, database)
        except Fault as fault:
            return str(fault)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    def try_watched(self, state: State) -> str | None:
        """Migrate a state, while a session tries to break its rules. Returns what went wrong, if anything."""
        try:
            with self.state(state) as database:
                self._see_adopted(state, database, by=watched)
        except Fault as fault:
            return str(fault)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    def try_killed(self, state: State, *, at: int, has_writer: bool) -> str | None:
        """Kill a migrate at a point, and let the next one finish, with or without a writer. Returns any fault."""
        try:
            with self.state(state) as database:
                columns = columns_of(database)
                before = rows(database, columns)
                points_before: object = 0
                if "PointTransaction" in columns:
                    ((points_before,),) = database.fetch(
                        'SELECT coalesce(sum(points), 0) FROM "PointTransaction"'
                    )
                beside = (
                    writing(database, points_before=int(str(points_before)))
                    if has_writer
                    else nullcontext(Written())
                )
                with beside as written:
                    killed = processes.fork(partial(points.migrate, database, at=at, act=processes.die))
                    status = processes.status_of(killed)
                    require(status in {-signal.SIGKILL, 0}, f"it was not killed, but ended with {status}")
                    status = processes.status_of(processes.fork(partial(points.migrate, database)))
                    require(status == 0, f"the next migrate ended with {status}")
                require(not written.fault, str(written.fault))
                self.compare(database, before, columns)
        except Fault as fault:
            return str(fault)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    def _see_adopted(
        self, state: State, database: Database, *, by: Callable[[Database], str] | None = None
    ) -> None:
        columns = columns_of(database)
        before = rows(database, columns)
        plan = self.plan(database)
        output = (by or migrate)(database)
        for words in state.says:
            require(words in output, f"migrate does not say {words!r}: {output}")
            require(words in plan, f"the plan does not say {words!r}: {plan}")
        replaced = [
            line for line in output.splitlines() if "replaced by" in line and states.TRIGGER not in line
        ]
        require(bool(state.says) or not replaced, f"migrate says of a replacement: {replaced}")
        self.compare(database, before, columns)

    def compare(self, database: Database, before: dict, columns: dict) -> None:
        found = facts(database)
        lines = [f"- {line}" for line in self.expected - found] + [
            f"+ {line}" for line in found - self.expected
        ]
        require(not lines, "\n    ".join(["differs from an undisturbed run:", *sorted(lines)[:12]]))
        after = rows(database, columns)
        changed = [table for table in before if before[table] != after[table]]
        require(not changed, f"rows have changed in {changed}")

    def _see_refused(self, state: State, database: Database) -> None:
        columns = columns_of(database)
        before, rows_before = set(database.catalog()), rows(database, columns)
        try:
            migrate(database)
        except CommandError as error:
            message = str(error)
        else:
            raise Fault("it was not refused")
        for words in state.says:
            require(words in message, f"it does not say {words!r}: {message}")
        require("Nothing was changed." in message, f"it does not say that nothing was changed: {message}")
        require(set(database.catalog()) == before, "the refused database was changed")
        require(rows(database, columns) == rows_before, "rows of the refused database were changed")
        require(
            database.fetch("SELECT to_regclass('django_migrations')") == [(None,)], "something is recorded"
        )
        if state.cure:
            with database.connect() as session:
                for statement in state.cure:
                    session.execute(statement.encode())
            migrate(database)
            found = {line for line in facts(database) if "|other" not in line}
            lines = sorted(found ^ self.expected)
            require(not lines, "\n    ".join(["after the cure it differs:", *lines[:12]]))

    def plan(self, database: Database) -> str:
        """Return the plan. Its exit status is ignored, because it depends on warnings about other apps, too."""
        output = io.StringIO()
        with database.as_django_connection(), suppress(SystemExit):
            call_command("migrate", database=SCRATCH, plan=True, stdout=output, interactive=False)
        return output.getvalue()


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Fault(otherwise)


def migrate(database: Database) -> str:
    with database.as_django_connection():
        return migrate_connected()


def migrate_connected() -> str:
    """Migrate the database with the alias `scratch`."""
    output = io.StringIO()
    call_command("migrate", database=SCRATCH, verbosity=1, interactive=False, stdout=output)
    return output.getvalue()


def watched(database: Database) -> str:
    """Migrate, while a second session tries to break the rules. Raises Fault."""
    found = processes.Reporter(partial(rules.watch, database), seconds=3 * processes.HUNG_SECONDS).report()
    require(found is not None, "migrate failed")
    output, tried, faults = found
    require(not faults, "; ".join(faults))
    require(tried > 100, f"a rule was tried only {tried} times")
    return str(output)
