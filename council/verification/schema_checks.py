"""Checks of the applied migrations, and of the database's catalogue against the manifest."""

from collections.abc import Iterator

from django.db.migrations.exceptions import InconsistentMigrationHistory

from council.postgres import facts
from council.postgres.facts import Difference, Fact
from council.verification import cures, manifest
from council.verification.checks import Finding, failed, note, register, warning
from council.verification.database import Database
from council.zero_downtime import partial_progress, row_level_security

SHOWN = 5  # how many unapplied migrations are listed
NOT_VALID, INVALID = " NOT VALID", " INVALID"  # each has its own check in leftover_checks
WITH_KIND = {"rule", "key state", "comment"}  # kinds to name, because the name alone is not clear


def describe(difference: Difference) -> str:
    """Describe a difference. For a definition of several lines, describe the first line that differs."""
    name = f"{difference.kind} {difference.name}" if difference.kind in WITH_KIND else difference.name
    expected, found = difference.expected, difference.found
    if expected is None:
        return f"{name} is not expected: {_first_line(found)}"
    if found is None:
        return f"{name} is missing: expected {_first_line(expected)}"
    if "\n" in expected + found:
        pairs = zip([*expected.splitlines(), ""], [*found.splitlines(), ""], strict=False)
        number, want, have = next(
            (number, want, have) for number, (want, have) in enumerate(pairs, start=1) if want != have
        )
        return f"{name} differs in line {number}: found {have.strip()!r}, expected {want.strip()!r}"
    return f"{name} is {found}, expected {expected}"


def _first_line(text: str | None) -> str:
    lines = str(text).replace("@extschema@.", "").splitlines()
    return lines[0] if len(lines) == 1 else f"{lines[0]} …"


def cure(database: Database, difference: Difference) -> str:
    if (
        database.pending_migrations
        and difference.expected is not None
        and not _is_gateways(database, difference)
    ):
        return cures.MIGRATE
    text = cures.cure(difference, expected=database.expected)
    return text.replace("@extschema@.", f"{cures.quote(database.schema)}.")


def _is_gateways(database: Database, difference: Difference) -> bool:
    """Return whether a difference concerns the baseline and some of it exists: migrate does not repair that."""
    is_of_version_1 = Fact(difference.kind, difference.name, difference.expected or "") in manifest.baseline()
    return is_of_version_1 and not manifest.gateway_tables().isdisjoint(database.definitions("table"))


def fault(database: Database, difference: Difference) -> Finding:
    return failed(describe(difference), cure(database, difference))


def surplus(database: Database, difference: Difference) -> Finding:
    """Report something that is not expected but does no harm."""
    return warning(describe(difference), cure(database, difference))


def count(database: Database, kind: str, *, more: str = "") -> Finding:
    """Count a kind's objects that are as expected. A missing table's parts count as missing, but are not reported."""
    expected = {fact for fact in database.expected if fact.kind == kind}
    equal = len(expected & database.found)
    return note(f"{equal if equal == len(expected) else f'{equal} of {len(expected)}'} as expected{more}")


def added(database: Database, kind: str) -> str:
    """List what version 2 adds to the gateway's tables."""
    before = facts.names(kind, manifest.baseline())
    gateways = manifest.gateway_tables()
    names = [
        fact.name
        for fact in sorted(database.expected)
        if fact.kind == kind and fact.name not in before and fact.name.partition(".")[0] in gateways
    ]
    return ", ".join(names)


@register("migrations")
def migrations(database: Database) -> Iterator[Finding]:
    """Check that all migrations are applied, and that none is applied that this code does not have."""
    loader = database.migrations
    pending = database.pending_migrations
    if pending:
        more = f" and {len(pending) - SHOWN} more" if len(pending) > SHOWN else ""
        yield failed(f"not applied: {', '.join(pending[:SHOWN])}{more}", cures.MIGRATE)
    replaced = {key for migration in loader.disk_migrations.values() for key in migration.replaces}
    unknown = sorted(loader.applied_migrations.keys() - loader.disk_migrations.keys() - replaced)
    for app, name in unknown:
        if partial_progress.is_row(name):
            yield failed(f"only partly applied: {app}.{name}", cures.MIGRATE)
            continue
        yield failed(
            f"{app}.{name} is applied, but not in this code: the database is newer than the code",
            "deploy the code that has it; or, with that code, run manage.py migrate to the migration before it",
        )
    try:
        loader.check_consistent_history(database.connection)
    except InconsistentMigrationHistory as error:
        yield failed(
            str(error), "compare with manage.py showmigrations, and correct the table django_migrations"
        )
    yield note(f"{len(loader.disk_migrations) - len(pending)} applied, none unknown")


@register("tables")
def tables(database: Database) -> Iterator[Finding]:
    found = facts.names("table", database.found)
    if not found:
        yield failed(
            f"none of the {len(database.tables)} tables is in the schema {database.schema}", cures.MIGRATE
        )
        return
    for difference in database.differences("table"):
        yield fault(database, difference)
    ours = [name for name in database.tables if name not in manifest.gateway_tables() and "_" not in name]
    yield count(database, "table", more=f": the gateway's nine, {', '.join(ours)}, and Django's")


@register("columns")
def columns(database: Database) -> Iterator[Finding]:
    """Compare columns. An unexpected column is a failure only if it is required when a row is added."""
    for difference in database.differences("column"):
        definition = str(difference.found)
        is_filled = any(word in definition for word in (" DEFAULT ", " GENERATED AS "))
        if difference.expected is None and (is_filled or " NOT NULL" not in definition):
            yield surplus(database, difference)
        else:
            yield fault(database, difference)
    yield count(database, "column", more=f", {added(database, 'column')} among them")


@register("enums")
def enums(database: Database) -> Iterator[Finding]:
    for difference in database.differences("enum"):
        yield fault(database, difference)
    yield count(database, "enum", more=", with their labels in order")


@register("constraints")
def constraints(database: Database) -> Iterator[Finding]:
    """Compare keys, foreign keys' actions and checks, and check that the foreign keys are enforced."""
    for difference in database.differences("constraint"):
        expected, found = difference.expected, difference.found
        if expected is None or found is None or found.removesuffix(NOT_VALID) != expected:
            yield fault(database, difference)
    for difference in database.differences("key state"):
        if difference.expected and difference.found:
            yield fault(database, difference)
    yield count(database, "constraint", more=": keys with their actions, and checks")


@register("indexes")
def indexes(database: Database) -> Iterator[Finding]:
    """Compare indexes. An unexpected one only costs time and space, but a unique one may reject rows."""
    of_constraints = facts.names("constraint", database.expected) | facts.names("constraint", database.found)
    for difference in database.differences("index"):
        expected, found = difference.expected, difference.found
        if difference.name in of_constraints or (found or "").removesuffix(INVALID) == expected:
            continue
        if expected is not None:
            yield fault(database, difference)
        elif not str(found).endswith(INVALID):
            is_unique = str(found).startswith("CREATE UNIQUE ")
            yield (fault if is_unique else surplus)(database, difference)
    gin = [
        fact.name.partition(".")[2]
        for fact in sorted(database.expected)
        if fact.kind == "index" and " USING gin " in fact.definition
    ]
    yield count(database, "index", more=f", {', '.join(gin)} (GIN) among them")


@register("triggers")
def triggers(database: Database) -> Iterator[Finding]:
    """Compare definitions, and check that triggers are enabled and that there are no others, and no rules."""
    for difference in database.differences("trigger", "rule"):
        yield fault(database, difference)
    for difference in database.differences("trigger state"):
        if difference.expected and difference.found:
            yield fault(database, difference)
    names = [name.partition(".")[2] for name in sorted(facts.names("trigger", database.expected))]
    yield count(database, "trigger", more=f", and enabled: {', '.join(names)}")


@register("functions")
def functions(database: Database) -> Iterator[Finding]:
    """Compare definitions, and the comment by which a migration recognises a function that it may replace."""
    missing = set()
    for difference in database.differences("function"):
        if difference.found is None:
            missing.add(difference.name)
        yield fault(database, difference)
    for difference in database.differences("comment"):
        if difference.expected and difference.name.removeprefix("function ") not in missing:
            yield surplus(database, difference)
    names = [name.partition("(")[0] for name in sorted(facts.names("function", database.expected))]
    yield count(database, "function", more=f", body and settings: {', '.join(names)}")


@register("row level security")
def row_security(database: Database) -> Iterator[Finding]:
    """Check that it is on for our tables, and forced for none: everybody connects as the owner, who would see no rows.

    On other apps' tables it must be on only if there is a data API.
    """
    gateways = manifest.gateway_tables()
    for difference in database.differences("row security"):
        is_ours = difference.name not in gateways and difference.expected == "on"
        if difference.found == "forced" or is_ours:
            yield fault(database, difference)
    if row_level_security.data_api_roles(database.connection):
        left_open = gateways | row_level_security.excepted_tables()
        others = {
            name for kind, name, state in database.expected if kind == "row security" and state == "off"
        }
        for name, state in sorted(database.definitions("row security").items()):
            if state == "off" and name in others - left_open:
                yield fault(database, Difference("row security", name, "on", "off"))
    off = sorted(
        name
        for name, state in database.definitions("row security").items()
        if name in gateways and state == "off"
    )
    on = sum(
        state == "on" for name, state in database.definitions("row security").items() if name not in gateways
    )
    yield note(f"on for our {on} tables" + (f"; off for the gateway's {', '.join(off)}" if off else ""))


# pg_sequence_last_value is NULL for a sequence that was never used.
BEHIND = """
    SELECT '{name}', pg_get_serial_sequence('{table}', '{column}'),
           coalesce(pg_sequence_last_value(pg_get_serial_sequence('{table}', '{column}')::regclass), 0),
           (SELECT max({quoted}) FROM {table})
"""


@register("sequences")
def sequences(database: Database) -> Iterator[Finding]:
    """Compare sequences. One that is behind the highest id would make the next insert fail."""
    changed = database.differences("sequence")
    for difference in changed:
        yield fault(database, difference)
    gone = {difference.name for difference in changed if difference.found is None}
    names = sorted(
        (facts.names("sequence", database.expected) & set(database.definitions("sequence"))) - gone
    )
    queries = []
    for name in names:
        table, column = cures.parts(name)
        queries.append(BEHIND.format(name=name, table=table, column=name.partition(".")[2], quoted=column))
    for name, sequence, last, highest in database.rows(" UNION ALL ".join(queries)) if queries else ():
        if highest is not None and highest > last:
            table, column = cures.parts(name)
            yield failed(
                f"{name} goes up to {highest}, but its sequence is only at {last}",
                f"SELECT setval('{sequence}', max({column})) FROM {table};",  # noqa: S608
            )
    yield count(database, "sequence", more=", none behind its column")


@register("extensions")
def extensions(database: Database) -> Iterator[Finding]:
    for difference in database.differences("extension"):
        if difference.found is None:
            yield fault(database, difference)
    yield note(f"{', '.join(sorted(facts.names('extension', database.expected)))} installed")
