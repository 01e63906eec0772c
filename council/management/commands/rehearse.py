"""`manage.py rehearse`: run the pending migrations on a temporary copy, under the load of a gateway."""

import functools
import json
import math
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any, TextIO, cast

from django.core.management.base import BaseCommand, CommandError
from django.db.migrations.exceptions import AmbiguityError
from django.db.migrations.loader import MigrationLoader

from council.postgres import units
from council.rehearsal import json_report, page, table
from council.rehearsal.database_url import DatabaseUrl
from council.rehearsal.errors import CannotRehearse
from council.rehearsal.load import Load
from council.rehearsal.outcome import Outcome
from council.rehearsal.phases import Phases
from council.rehearsal.rehearsal import Request, rehearse
from council.zero_downtime import interruption

# The state before the migrations of version 2: the gateway's tables, and nothing else.
STATES = {"v1": [("council", "0001")]}


def count(text: str) -> int:
    """Read a number of members: 1000000, 1_000_000 or 1,000,000."""
    digits = text.replace("_", "").replace(",", "")
    if not digits.isdecimal() or int(digits) == 0:
        raise ArgumentTypeError(f"{text!r} is not a number of members. Write it as 1_000_000.")
    return int(digits)


def number(text: str, *, least: float, most: float, fault: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise ArgumentTypeError(f"{text!r} {fault}")
    return value


SCALE = "is not a scale. Write a number from 0.0001 to 10, such as 0.1 for a tenth."
RATE = "is not a rate. Write a number of statements per second, from 1 to 10000."
share = functools.partial(number, least=0.0001, most=10, fault=SCALE)
rate = functools.partial(number, least=1, most=10_000, fault=RATE)


def clients(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise ArgumentTypeError(f"{text!r} is not a number of clients. Write a number from 1 to 64.")
    return int(text)


class Command(BaseCommand):
    help = (
        "Run the pending migrations on a temporary copy of the database under load, and report how long reads and "
        "writes waited. The source is only read, and the copy is removed. Exit status 0: passed, 1: failed, 2: the "
        "rehearsal could not be done."
    )
    requires_system_checks = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        sources = parser.add_argument_group("what to copy (choose one)").add_mutually_exclusive_group(
            required=True
        )
        sources.add_argument(
            "--from-dump", type=Path, metavar="FILE", help="A dump that pg_dump wrote, in any format."
        )
        sources.add_argument("--from-url", metavar="URL", help="A database, which is only read.")
        sources.add_argument(
            "--members", type=count, metavar="N", help="Copy nothing, but generate N members."
        )
        parser.add_argument("--scale", type=share, metavar="S", help="Multiply the number of members by S.")
        parser.add_argument(
            "--from-state",
            metavar="STATE",
            help="The migrations to apply before members are generated: v1 (the default), or app.0005,app.0007.",
        )
        parser.add_argument(
            "--on",
            metavar="URL",
            help="An empty database for the copy, whose name contains 'rehearsal' (default: a private server).",
        )
        parser.add_argument(
            "--folder", type=Path, help="The folder for temporary files (default: the system's)."
        )
        parser.add_argument(
            "--max-wait",
            type=units.seconds,
            default="350ms",
            metavar="TIME",
            help="The longest time that a read or a write may wait (default: 350ms).",
        )
        parser.add_argument(
            "--rate",
            type=rate,
            default="200",
            metavar="N",
            help="How many statements the gateway sends per second (default: 200).",
        )
        parser.add_argument(
            "--clients",
            type=clients,
            default="4",
            metavar="N",
            help="How many connections send these statements (default: 4).",
        )
        parser.add_argument(
            "--long-transaction",
            type=units.seconds,
            default="3s",
            metavar="TIME",
            help="How long a transaction stays open from time to time (default: 3s; 0: never).",
        )
        parser.add_argument(
            "--before",
            type=units.seconds,
            default="5s",
            metavar="TIME",
            help="How long to send statements before the migrations (default: 5s).",
        )
        parser.add_argument("--format", choices=["table", "json"], default="table", help="The output format.")
        parser.add_argument(
            "--html", type=Path, metavar="FILE", help="Also write a page with a chart of the waits."
        )
        parser.add_argument("--json", type=Path, metavar="FILE", help="Also write the figures to this file.")

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            with interruption.interruptible():
                return super().execute(*args, **options)
        except KeyboardInterrupt as error:
            raise CommandError(
                f"{str(error) or 'Ctrl-C'}: the rehearsal was interrupted, and its copy was removed.",
                returncode=interruption.exit_status(error),
            ) from error

    def handle(self, *args: Any, **options: Any) -> None:
        request = self.request(options)
        for file in (options["html"], options["json"]):
            refuse_unwritable(file)
        phases = Phases(cast(TextIO, self.stderr._out), verbosity=options["verbosity"])
        outcome = rehearse(request, phases)
        self.write(outcome, options)
        if not outcome.is_passed:
            sys.exit(1)

    def request(self, options: dict[str, Any]) -> Request:
        """Build the request from the options. Raises CannotRehearse if they contradict each other."""
        members, scale, state = options["members"], options["scale"], options["from_state"]
        if members is None and scale is not None:
            raise CannotRehearse(
                "--scale works only with --members. A part of a real database would not be realistic: its rows belong "
                "together across tables, and its indexes would have other sizes.",
                cure="Copy the whole database, or use --members with --scale.",
            )
        if members is None and state is not None:
            raise CannotRehearse(
                "--from-state works only with --members: a copy starts with the migrations that its source has.",
                cure="Leave it out.",
            )
        return Request(
            max_wait_ms=options["max_wait"] * 1000,
            load=Load(
                clients=options["clients"],
                per_second=options["rate"],
                held_seconds=options["long_transaction"],
                pause_seconds=max(4 * options["long_transaction"], 1.0),
            ),
            dump=options["from_dump"],
            url=options["from_url"],
            members=members if members is None else max(1, round(members * (scale or 1))),
            state=migrations(state or "v1"),
            on=options["on"],
            folder=options["folder"],
            schema=schema(options["from_url"], options["on"]),
            before_seconds=options["before"],
        )

    def write(self, outcome: Outcome, options: dict[str, Any]) -> None:
        found = json_report.as_json(outcome)
        if options["format"] == "json":
            self.stdout.write(json.dumps(found, indent=2, ensure_ascii=False))
        else:
            table.write(outcome, cast(TextIO, self.stdout._out))
        if options["json"]:
            options["json"].write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        if options["html"]:
            options["html"].write_text(page.render(outcome))


def schema(source: str | None, on: str | None) -> str:
    """Return the application's schema. Raises CannotRehearse if the two URLs name different ones."""
    named = {
        option: DatabaseUrl(url, option).schema
        for url, option in ((source, "--from-url"), (on, "--on"))
        if url
    }
    if len(set(named.values())) > 1:
        raise CannotRehearse(
            f"The URLs name different schemas: {', '.join(f'{option} {name}' for option, name in named.items())}.",
            cure="Give both the same: …?schema=NAME.",
        )
    return next(iter(named.values()), "public")


def migrations(state: str) -> list[tuple[str, str]]:
    """Convert --from-state to targets of migrate. Raises CannotRehearse."""
    if state in STATES:
        return STATES[state]
    loader = MigrationLoader(None)
    targets = []
    for text in state.split(","):
        app_label, _, name = text.strip().partition(".")
        try:
            found = loader.get_migration_by_prefix(app_label, name)
        except (AmbiguityError, KeyError):
            known = ", ".join(sorted({node[1] for node in loader.graph.nodes if node[0] == app_label})[:20])
            raise CannotRehearse(
                f"--from-state is {text.strip()!r}, which is not a migration.",
                cure=f"Write v1, or a name such as gamification.0005{f'; {app_label} has {known}' if known else ''}.",
            ) from None
        targets.append((found.app_label, found.name))
    return targets


def refuse_unwritable(file: Path | None) -> None:
    """Check at the start that a report can be written, because a rehearsal takes long. Raises CannotRehearse."""
    if file is not None and (file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK)):
        raise CannotRehearse(
            f"{file} cannot be written.", cure="Name a file in an existing folder that you may write to."
        )
