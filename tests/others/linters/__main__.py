"""Compare how many dangers our lint, squawk and django-migration-linter find in other people's migrations.

A sample of operations that run SQL is drawn with a fixed seed from twelve groups of apps, with the same number of each
class of operation if there are enough. Each is run on a private server, in its migration, on tables with rows: once on
the tables as migrated, and once with indexes, checks and keys on every column. PostgreSQL tells what is really
dangerous:

- by locks: it reads, changes or rewrites all rows of an existing table, or builds an index on one, while it holds a
  lock for which reads or writes wait; or it changes all rows of one;
- by breaks: a SELECT, INSERT or UPDATE of the models before the migration works before it, and fails after it.

`python -m tests.others.linters` prints the table for docs/measured.md and writes each judgement to judgements.json
beside this file; arguments name groups. The apps come from PyPI into build/others/.
"""

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from council.postgres import embedded
from tests.others import comparison, packages
from tests.others.comparison import Place
from tests.others.groups import GROUPS
from tests.others.linters import scores, tools

SEED, SIZE = 17, 200
LEFT_OUT = {"djstripe"}  # half of all operations are in one of its migrations, which takes an hour
JUDGEMENTS = Path(__file__).with_name("judgements.json")
FOLDER = packages.FOLDER.parent / "linters"


@contextmanager
def server() -> Iterator[str]:
    if given := os.environ.get("SERVER_URL"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="council-linters-") as folder:
        binaries = os.environ.get("COUNCIL_POSTGRES_BIN")
        own = embedded.Server(
            Path(folder, "postgres"),
            binaries=Path(binaries) if binaries else None,
            options={"fsync": "off", "autovacuum": "off", "max_locks_per_transaction": "1000"},
        )
        try:
            address = own.start()
            yield f"host={address.host} port={address.port} user={address.user}"
        finally:
            own.remove()


def work(place: Place, group: str, *arguments: str) -> list[dict[str, Any]]:
    """Run worker.py for a group in a separate database. Raises comparison.Failed."""
    database = f"linters_{group.replace('-', '_')}"
    place.new(database)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.others.linters.worker", *arguments],
        cwd=comparison.ROOT,
        env={
            **os.environ,
            "PYTHONPATH": f"{comparison.ROOT}{os.pathsep}{place.packages}",
            "DJANGO_SETTINGS_MODULE": "tests.others.settings_of_group",
            "GROUP": group,
            "ENGINE": comparison.STOCK,
            "DATABASE_URL": f"{place.server} dbname={database}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    place.drop(f"{database}_judged")
    place.drop(database)
    if done.returncode:
        raise comparison.Failed(f"{group}: {done.stderr[-3_000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def operations(place: Place, groups: list[str]) -> dict[str, list[dict[str, Any]]]:
    """List the groups' operations with their SQL. One in several groups is listed once. Kept in build/."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    found, seen = {}, set()
    for group in groups:
        file = FOLDER / f"{group}.json"
        if not file.exists():
            file.write_text(json.dumps(work(place, group, "list")))
        own = json.loads(file.read_text())
        found[group] = [one for one in own if (one["migration"], one["number"]) not in seen]
        seen |= {(one["migration"], one["number"]) for one in own}
    return found


def sample(
    found: dict[str, list[dict[str, Any]]], groups: Sequence[str]
) -> dict[str, dict[str, dict[int, list[str]]]]:
    """Draw a sample of operations that run SQL. Returns their SQL by group, migration and number."""
    kinds = collections.defaultdict(list)
    for group, own in found.items():
        for one in (one for one in own if one["is_sql"] and one["sql"]):
            kinds[one["kind"]].append((group, one["migration"], one["number"], one["sql"]))
    draw = random.Random(SEED)
    for kind in sorted(kinds):
        draw.shuffle(kinds[kind])
    turns = [
        one
        for turn in range(SIZE)
        for kind in sorted(kinds)
        for one in kinds[kind][turn : turn + 1]
        if one[0] in groups
    ]
    drawn: dict[str, dict[str, dict[int, list[str]]]] = {}
    for group, migration, number, text in turns[:SIZE]:
        drawn.setdefault(group, {}).setdefault(migration, {})[number] = text
    return drawn


def judge(place: Place, group: str, wanted: dict[str, dict[int, list[str]]]) -> list[dict[str, Any]]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(wanted, file)
        file.flush()
        return [{"group": group, **one} for one in work(place, group, "judge", file.name)]


def write(judged: list[dict[str, Any]]) -> None:
    """Write the judgements, one per line."""
    lines = [json.dumps(one, ensure_ascii=False) for one in judged]
    JUDGEMENTS.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("groups", nargs="*", default=[group for group in GROUPS if group not in LEFT_OUT])
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    folder = packages.installed(
        "all-groups", [package for group in GROUPS.values() for package in group.packages]
    )
    with server() as address:
        place = Place(address, folder)
        found = operations(place, list(GROUPS))
        drawn = sample(found, options.groups)
        with ThreadPoolExecutor(options.processes) as pool:
            judged = list(pool.map(lambda group: judge(place, group, drawn[group]), drawn))
    whole = [one for own in judged for one in own]
    scripts: dict[str, list[list[str]]] = {}
    for one in (one for own in found.values() for one in own):
        scripts.setdefault(one["migration"], []).append(one["sql"])
    scripts = {name: scripts[name] for name in dict.fromkeys(one["migration"] for one in whole)}
    for tool in (tools.by_squawk, tools.by_django_migration_linter):
        told = tool(scripts)
        for one in whole:
            one[tool.__name__.removeprefix("by_")] = sorted(told.get((one["migration"], one["number"]), ()))
    write(whole)
    sys.stdout.write(scores.table(whole))


if __name__ == "__main__":
    main()
