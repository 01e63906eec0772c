"""Checks for what interrupted operations have left behind."""

from collections.abc import Iterator

from council.postgres import units
from council.verification import cures
from council.verification.checks import Finding, failed, note, register, warning
from council.verification.database import Database
from council.zero_downtime import migration_lock

OLD_SECONDS = 5 * 60.0
# A migrate may be idle because it waits for a lock, but no longer than --patience: by default ten minutes.
ORPHANED_SECONDS = 15 * 60.0

INVALID_INDEXES = """
    SELECT x.relname, t.relname, t.relname = ANY(%(tables)s),
           EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = x.oid)
      FROM pg_index i
      JOIN pg_class x ON x.oid = i.indexrelid
      JOIN pg_class t ON t.oid = i.indrelid
      JOIN pg_namespace n ON n.oid = t.relnamespace
     WHERE n.nspname = %(schema)s AND NOT (i.indisvalid AND i.indisready AND i.indislive)
     ORDER BY 1
"""


@register("invalid indexes")
def invalid_indexes(database: Database) -> Iterator[Finding]:
    """Report invalid indexes, which an interrupted build or REINDEX (`_ccnew`, `_ccold`) leaves behind."""
    expected = {
        fact.name.partition(".")[2]: fact.definition for fact in database.expected if fact.kind == "index"
    }
    constraints = {fact.name.partition(".")[2] for fact in database.expected if fact.kind == "constraint"}
    for index, table, is_ours, is_being_built in database.rows(INVALID_INDEXES):
        message = f'{index} of "{table}" is INVALID: it slows down every write, and serves no query'
        drop = f"DROP INDEX CONCURRENTLY {cures.quote(index)};"
        if is_being_built:
            yield warning(f'{index} of "{table}" is being built', "wait for its end, and verify again")
        elif index in constraints:
            yield failed(message, f"REINDEX INDEX CONCURRENTLY {cures.quote(index)};")
        elif index in expected:
            yield failed(message, f"{drop} {cures.concurrently(expected[index])};")
        else:
            yield (failed if is_ours else warning)(message, drop)
    yield note("none")


UNVALIDATED = """
    SELECT k.conname, t.relname, t.relname = ANY(%(tables)s)
      FROM pg_constraint k
      JOIN pg_class t ON t.oid = k.conrelid
      JOIN pg_namespace n ON n.oid = t.relnamespace
     WHERE n.nspname = %(schema)s AND NOT k.convalidated
     ORDER BY 1
"""


@register("unvalidated constraints")
def unvalidated(database: Database) -> Iterator[Finding]:
    """Report constraints that were never checked against older rows."""
    for constraint, table, is_ours in database.rows(UNVALIDATED):
        yield (failed if is_ours else warning)(
            f'{constraint} of "{table}" is NOT VALID: older rows may violate it',
            f"ALTER TABLE {cures.quote(table)} VALIDATE CONSTRAINT {cures.quote(constraint)};",
        )
    yield note("none")


PREPARED = """
    SELECT gid, owner, extract(epoch FROM clock_timestamp() - prepared)::float
      FROM pg_prepared_xacts
     WHERE database = current_database()
     ORDER BY prepared
"""


@register("prepared transactions")
def prepared_transactions(database: Database) -> Iterator[Finding]:
    """Report forgotten ones: until somebody ends them, they hold locks and keep VACUUM from removing dead rows."""
    young = 0
    for name, owner, seconds in database.rows(PREPARED):
        if seconds >= OLD_SECONDS:
            literal = name.replace("'", "''")
            yield failed(
                f"{name!r} of {owner} was prepared {units.duration(seconds)} ago",
                f"ROLLBACK PREPARED '{literal}';",
            )
        else:
            young += 1
    yield note(f"{young} under way" if young else "none")


LOCKS = """
    SELECT l.pid, coalesce(a.usename, 'user: hidden'), a.state,
           extract(epoch FROM clock_timestamp() - a.state_change)::float
      FROM pg_locks l
      LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'advisory' AND l.classid = %(class)s AND l.objid = %(object)s AND l.granted
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@register("migrate's lock")
def advisory_lock(database: Database) -> Iterator[Finding]:
    """Report who holds it. While a migrate runs, the schema may be incomplete; a dead one blocks the next."""
    # pg_locks shows these numbers as unsigned, and so are our constants.
    rows = database.rows(LOCKS, **{"class": migration_lock.CLASS, "object": migration_lock.OBJECT})
    for pid, user, state, seconds in rows:
        if state == "idle" and seconds >= ORPHANED_SECONDS:
            yield failed(
                f"held by pid {pid} ({user}), which has been idle for {units.duration(seconds)}",
                f"SELECT pg_terminate_backend({pid});",
            )
        else:
            yield warning(
                f"held by pid {pid} ({user}): a migrate is running", "wait for its end, and verify again"
            )
    if not rows:
        yield note("not held")
