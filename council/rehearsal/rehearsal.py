"""One rehearsal from beginning to end: copy, load, migrate, and remove everything again."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
from django.db import DatabaseError

from council.gateway import made_up_rows
from council.postgres import installation
from council.rehearsal import (
    dumps,
    filling,
    load,
    lock_samples,
    migrate_process,
    outcome,
    prediction,
    source,
    target,
    tools,
)
from council.rehearsal.database_url import DatabaseUrl
from council.rehearsal.dumps import Dump
from council.rehearsal.errors import CannotRehearse
from council.rehearsal.load import Load, Observed
from council.rehearsal.outcome import Outcome
from council.rehearsal.phases import Phases
from council.rehearsal.record import MigrationRun, Origin, Record
from council.rehearsal.source import Source
from council.rehearsal.target import Target

# The space for migrations, which build indexes and rewrite rows, and for the rows that the load writes.
GROWTH = 2.0
APPLICATION = "council rehearsal"


@dataclass(frozen=True)
class Request:
    """The options of a rehearsal. Exactly one of `dump`, `url` and `members` is given.

    `state` lists the targets to migrate to before members are made up.
    """

    max_wait_ms: float
    load: Load
    dump: Path | None = None
    url: str | None = None
    members: int | None = None
    state: list[tuple[str, str]] = field(default_factory=list)
    on: str | None = None
    folder: Path | None = None
    schema: str = "public"
    before_seconds: float = 5.0
    after_seconds: float = 2.0


def rehearse(request: Request, phases: Phases) -> Outcome:
    """Rehearse, and remove everything again. Raises CannotRehearse if it cannot be done."""
    given = _look(request)
    with _target(request, given) as made, _explained(made):
        began = time.monotonic()
        left_out = _fill(request, given, made, phases)
        origin = Origin(
            source=_describe_source(request, given),
            target=made.description,
            postgresql=_server_version(made.database),
            left_out=left_out,
            source_version=given.version if given else None,
            copy_seconds=time.monotonic() - began,
        )
        record = Record(origin, request.load, request.max_wait_ms, prediction.predict(made.database))
        if record.predicted:
            record = _migrate(request, made, record, phases)
    return outcome.conclude(record)


@contextmanager
def _explained(made: Target) -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, DatabaseError) as error:
        raise CannotRehearse(
            f"An error occurred in the copy ({made.description}): {str(error).strip()}",
            cure="Check that its server is running, and that its disk has space.",
        ) from error


def _look(request: Request) -> Source | Dump | None:
    if request.dump:
        return dumps.read(request.dump)
    if request.url:
        return source.look(DatabaseUrl(request.url, "--from-url"), schema=request.schema)
    return None


def _describe_source(request: Request, given: Source | Dump | None) -> str:
    if isinstance(given, Source):
        return str(given.database)
    if given:
        return f"the {given.format} dump {given.file.name}"
    return f"{request.members:,} made-up members"


def _needed_bytes(request: Request, given: Source | Dump | None) -> int:
    """Estimate the space that a copy needs, including the migrations."""
    if given is None:
        return int((request.members or 0) * made_up_rows.BYTES_A_MEMBER * GROWTH)
    dump_bytes = given.database_bytes / dumps.GROWTH[dumps.CUSTOM] if isinstance(given, Source) else 0
    return int(given.database_bytes * GROWTH + dump_bytes)


@contextmanager
def _target(request: Request, given: Source | Dump | None) -> Iterator[Target]:
    if request.on:
        if isinstance(given, Source):
            database = request.folder or Path(tempfile.gettempdir())
            dump_bytes = int(given.database_bytes / dumps.GROWTH[dumps.CUSTOM])
            target.refuse_lack_of_space(shutil.disk_usage(database).free, dump_bytes, where=database)
        known = given.identity if isinstance(given, Source) else None
        with target.given(DatabaseUrl(request.on, "--on"), request.folder, source=known) as made:
            if isinstance(given, Dump):
                dumps.refuse_later_version(given, made.version)
            yield made
    else:
        binaries = tools.binaries("postgres", "initdb")
        if isinstance(given, Dump):
            dumps.refuse_later_version(given, int(installation.major(binaries)))
        needed = _needed_bytes(request, given)
        with target.private(request.folder, schema=request.schema, needed_bytes=needed) as made:
            yield made


def _fill(request: Request, given: Source | Dump | None, made: Target, phases: Phases) -> list[str]:
    """Fill the copy, and return which parts of the source are not in it."""
    if given is None:
        _generate(request, made, phases)
        return []
    if isinstance(given, Source):
        with phases.phase(f"Reading {given.database}") as advanced:
            given = given.dump(made.folder, advanced=advanced)
        dumps.refuse_later_version(given, made.version)
    with phases.phase("Restoring the copy") as advanced:
        left_out = dumps.restore(
            given, made.database, schema=request.schema, folder=made.folder, advanced=advanced
        )
    if given.file.parent == made.folder:
        given.file.unlink()
    with phases.phase("Analysing the copy"), made.database.connect(application=APPLICATION) as session:
        filling.settle(session)
    return left_out


def _generate(request: Request, made: Target, phases: Phases) -> None:
    assert request.members
    with phases.phase("Building the schema") as advanced:
        for number, arguments in enumerate(request.state):
            _migrate_to(made.database, arguments)
            advanced((number + 1) / len(request.state))
    with (
        phases.phase(f"Generating {request.members:,} members") as advanced,
        made.database.connect(application=APPLICATION) as session,
    ):
        session.execute("SELECT set_config('search_path', %s, false)", [f'"{request.schema}"'])
        try:
            filling.fill(session, members=request.members, advanced=advanced)
        except psycopg.Error as error:
            raise CannotRehearse(
                f"Generating the members failed: {str(error).strip()}",
                cure="Fix what the message names, and check that the disk has space.",
            ) from error


def _migrate_to(database: DatabaseUrl, arguments: tuple[str, ...]) -> None:
    with migrate_process.migrate(database.url, *arguments) as running:
        for _ in running.events():
            pass
    if running.status:
        raise CannotRehearse(
            f"The initial state could not be created: migrate {' '.join(arguments)} printed: "
            f"{' '.join(running.output).strip()}",
            cure="Name another one with --from-state.",
        )


def _migrate(request: Request, made: Target, record: Record, phases: Phases) -> Record:
    """Run the migrations while the gateway's load runs, and add waits, locks and sizes to the record."""
    planned, runs = len(record.predicted), list[MigrationRun]()
    with (
        made.database.connect(application=APPLICATION) as session,
        load.at_work(made.database, request.load, schema=request.schema, folder=made.folder) as observed,
        lock_samples.watching(made.database) as held,
    ):
        size_before_bytes = lock_samples.size_bytes(session)
        with phases.phase("Gateway load, before the migrations") as advanced:
            _pause(request.before_seconds, observed, advanced)
        with phases.phase(f"Applying {planned} migrations under load") as advanced:
            began = time.monotonic()
            with migrate_process.migrate(made.database.url) as running:
                for event in running.events():
                    size_bytes = lock_samples.size_bytes(session)
                    if event.kind == migrate_process.BEGAN:
                        runs.append(MigrationRun(event.migration, event.moment, size_bytes))
                    else:
                        runs[-1] = replace(runs[-1], ended=event.moment, size_after_bytes=size_bytes)
                        advanced(len(runs) / planned)
            ended = time.monotonic()
        size_after_bytes = lock_samples.size_bytes(session)
        with phases.phase("Gateway load, after the migrations") as advanced:
            _pause(request.after_seconds, observed, advanced)
    return replace(
        record,
        samples=tuple(observed.samples),
        open_transactions=tuple(observed.held),
        held=tuple(held),
        runs=tuple(runs),
        began=began,
        ended=ended,
        status=running.status or 0,
        output=tuple(running.output),
        size_before_bytes=size_before_bytes,
        size_after_bytes=size_after_bytes,
    )


def _pause(seconds: float, observed: Observed, advanced: Callable[[float], object]) -> None:
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds:
        advanced(passed / seconds)
        observed.refuse_stopped_clients()
        time.sleep(min(0.1, seconds - passed))


def _server_version(database: DatabaseUrl) -> str:
    with database.connect(application=APPLICATION) as session:
        return str(session.info.parameter_status("server_version")).split()[0]
