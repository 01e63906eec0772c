"""Measure how long readers and writers wait while other people's migrations change large tables in use.

    python -m tests.performance.in_use [oauth oscar q2] [--rows 300000] [--held 15]

oauth and oscar: Django migrates up to a certain migration and the tables are filled. Then Django and we migrate a copy
each to the end, with a reader and a writer on each table. Ours must refuse before anything is written, or nobody may
wait longer than 350 ms. For comparison, ours also runs with `--accept-risks`. q2: the same on small tables, with an
open transaction that has read one of them. The apps are downloaded from PyPI into build/others/.
"""

import argparse
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from tests.others import packages
from tests.others.comparison import Failed, Place
from tests.others.groups import GROUPS
from tests.performance import measuring
from tests.performance.groups import server

BAR_MS = 350
PERIOD_SECONDS = 0.02
# The last migration before the tables are filled, and the tables that are used.
CASES = {
    "oauth": ("oauth2_provider", "0014", ["oauth2_provider_accesstoken", "oauth2_provider_refreshtoken"]),
    "oscar": ("catalogue", "0011", ["catalogue_product", "catalogue_category"]),
    "q2": ("django_q", "0009", ["django_q_task", "django_q_schedule"]),
}
COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef OR a.attidentity <> '',
       (SELECT k.confrelid::regclass::text FROM pg_constraint k
         WHERE k.contype = 'f' AND k.conrelid = a.attrelid AND k.conkey = ARRAY[a.attnum]),
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND a.attnum = ANY (i.indkey))
  FROM pg_attribute a
 WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
# For a type whose name begins like this, an SQL expression of the row's number.
VALUES = {
    "boolean": "false",
    "integer": "n",
    "bigint": "n",
    "smallint": "1",
    "numeric": "1",
    "double": "1",
    "date": "current_date",
    "timestamp": "now()",
    "uuid": "gen_random_uuid()",
    "json": "'{}'",
    "interval": "'1 day'",
    "bytea": "''",
    "inet": "'127.0.0.1'",
}


@dataclass
class Waits:
    """A client's waits, in seconds, and what failed."""

    longest: float = 0.0
    count: int = 0
    errors: list[str] = field(default_factory=list)


def fill(session: psycopg.Connection, table: str, rows: int, seen: tuple[str, ...] = ()) -> None:
    """Fill a table with ordinary rows, and first the tables that it refers to."""
    (there,) = session.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(table))).fetchone() or (0,)
    if there >= rows or table in seen:
        return
    names, expressions = [], []
    for name, kind, is_required, has_default, parent, is_unique in session.execute(
        COLUMNS, [table]
    ).fetchall():
        if parent and parent != table and is_required:
            fill(session, parent, rows if is_unique else 1, (*seen, table))
            expression = f"(SELECT min(id) FROM {parent})" if not is_unique else "n"
        elif not is_required or (has_default and name != "id"):
            continue
        elif name == "id" and "uuid" not in kind:
            expression = "n"
        elif kind.startswith(("character", "text")):
            expression = f"left('{name[:1]}' || lpad(n::text, 7, '0'), {width(kind)})"
        else:
            expression = next(value for start, value in VALUES.items() if kind.startswith(start))
        names.append(sql.Identifier(name))
        expressions.append(sql.SQL(expression))
    session.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM generate_series({}, {}) AS n").format(
            sql.SQL(table),
            sql.SQL(", ").join(names),
            sql.SQL(", ").join(expressions),
            sql.Literal(there + 1),
            sql.Literal(rows),
        )
    )


def width(kind: str) -> int:
    return int(kind.partition("(")[2].rstrip(")") or 100)


@contextmanager
def at_work(where: str, tables: list[str]) -> Iterator[dict[str, Waits]]:
    """Run a reader and a writer on each table. A statement's wait begins when it is due by the clock."""
    ended = threading.Event()
    found: dict[str, Waits] = {}

    def work(table: str, statement: str, waits: Waits) -> None:
        with psycopg.connect(where, autocommit=True, prepare_threshold=None) as session:
            began = time.monotonic()
            for number in itertools.count():
                due = began + number * PERIOD_SECONDS
                if ended.wait(max(0.0, due - time.monotonic())):
                    return
                if time.monotonic() - due > 10 * PERIOD_SECONDS:
                    began = time.monotonic() - number * PERIOD_SECONDS  # statements due meanwhile waited less
                try:
                    session.execute(
                        sql.SQL(statement).format(sql.SQL(table)),
                        [1 + number % 1000],
                    )
                except psycopg.Error as error:
                    waits.errors.append(str(error))
                waits.longest = max(waits.longest, time.monotonic() - due)
                waits.count += 1

    threads = []
    for table in tables:
        for kind, statement in {
            "read": "SELECT id FROM {} WHERE id = %s",
            "write": "UPDATE {} SET id = id WHERE id = %s",
        }.items():
            waits = found.setdefault(f"{kind} of {table}", Waits())
            threads.append(threading.Thread(target=work, args=[table, statement, waits]))
    for thread in threads:
        thread.start()
    try:
        time.sleep(2)
        yield found
        time.sleep(1)
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def held_open(where: str, table: str, seconds: float) -> Iterator[None]:
    """Read a table in a transaction, and leave it open for some seconds."""
    if not seconds:
        yield
        return
    opened = threading.Event()

    def hold() -> None:
        with psycopg.connect(where, autocommit=True) as session:
            session.execute("BEGIN")
            session.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(table)))
            opened.set()
            time.sleep(seconds)
            session.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    opened.wait()
    yield
    thread.join()


def longest(found: dict[str, Waits]) -> str:
    kind, waits = max(found.items(), key=lambda one: one[1].longest)
    return f"{waits.longest * 1000:,.0f} ms ({kind})"


def measure(place: Place, group: str, *, rows: int, held: float) -> Iterator[list[str]]:
    app, target, tables = CASES[group]
    template = f"in_use_{group}"
    place.new(template)
    place.run(group, "to", app, target, database=template)
    with psycopg.connect(place.server, dbname=template, autocommit=True) as session:
        for table in tables:
            fill(session, table, rows)
        session.execute("VACUUM ANALYZE")
    for how, arguments in {"stock": [], "ours": [], "ours, risks accepted": ["--accept-risks"]}.items():
        name = f"{template}_run"
        with psycopg.connect(place.server, dbname="postgres", autocommit=True) as session:
            session.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            session.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        where = f"{place.server} dbname={name}"
        before = place.catalogue(name)
        outcome = ""
        with at_work(where, tables) as found:
            quiet = longest(found)
            began = time.monotonic()
            with held_open(where, tables[0], held):
                try:
                    place.run(group, how.partition(",")[0], *arguments, database=name)
                except Failed as error:
                    outcome = str(error)
            took = time.monotonic() - began
        if outcome:
            is_refusal = "Nothing was changed." in outcome and place.catalogue(name) == before
            sys.stdout.write(f"{group}, {how}: {outcome}\n")
            outcome = "refused, nothing written" if is_refusal else "FAILED"
        errors = sum(len(waits.errors) for waits in found.values())
        worst = max(waits.longest for waits in found.values()) * 1000
        is_met = how.startswith("stock") or "accepted" in how or worst <= BAR_MS
        yield [
            group,
            how,
            outcome or "done",
            f"{took:.1f} s",
            longest(found),
            quiet,
            str(errors),
            "" if is_met else "MISSED",
        ]
        place.drop(name)
    place.drop(template)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("groups", nargs="*", default=list(CASES))
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument(
        "--held", type=float, default=15.0, help="seconds for which the transaction stays open during q2"
    )
    options = parser.parse_args()
    folder = packages.installed("in-use", [one for group in CASES for one in GROUPS[group].packages])
    rows = [["group", "by", "outcome", "took", "longest wait", "before it", "errors", f"at most {BAR_MS} ms"]]
    with server() as address:
        place = Place(address, folder)
        for group in options.groups:
            is_q2 = group == "q2"
            rows += measure(
                place,
                group,
                rows=min(options.rows, 1_000) if is_q2 else options.rows,
                held=options.held if is_q2 else 0,
            )
    sys.stdout.write(f"load {os.getloadavg()}\n{measuring.table(rows)}\n")


if __name__ == "__main__":
    main()
