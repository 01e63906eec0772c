"""Checks of `manage.py verify_schema` about points."""

from collections.abc import Iterator

from django.db import DatabaseError, IntegrityError, transaction

from council import verification
from council.postgres.fields import cuid
from council.verification import Database, Finding, Sample, failed, first_line, note, warning
from council.zero_downtime import failures
from gamification import reconciliation

SAMPLE_MEMBERS = 2_000
BATCH_MEMBERS = 500
SHOWN = 5
REPAIR = "manage.py reconcile_points --repair"


@verification.register("ledger figures", own_transactions=True)
def figures(database: Database) -> Iterator[Finding]:
    """Check that totals, months, streaks and last activity match the ledger, and that no row is from the future.

    Compares members drawn at random, as many as a second allows and at most 2,000; with `--full`, all members. Each
    batch is a transaction, so that no lock is held for long.
    """
    with database.transaction():
        misdated = reconciliation.misdated()
    for row in misdated[:SHOWN]:
        yield failed(f"member {row}", REPAIR)
    if len(misdated) > SHOWN:
        yield failed(f"{len(misdated) - SHOWN} more rows are dated in the future", REPAIR)
    sample, wrong = members(database), []
    for ids in sample.batches():
        with database.transaction():
            wrong += reconciliation.compare(ids)
    for difference in wrong[:SHOWN]:
        yield failed(f"member {difference}", REPAIR)
    if len(wrong) > SHOWN:
        yield failed(f"{len(wrong) - SHOWN} more members differ, of {sample.compared:,} compared", REPAIR)
    yield note(f"of {sample.compared:,} members, {sample.extent}")


def members(database: Database) -> Sample:
    """Choose the members that a check compares: at most 2,000, or all with `--full`."""
    return Sample(
        database,
        draw=lambda: reconciliation.draw(SAMPLE_MEMBERS),
        next_batch=reconciliation.next_batch,
        limit=SAMPLE_MEMBERS,
        batch=BATCH_MEMBERS,
    )


# Queries of a parent table also read the rows of its child tables, which the parent's triggers do not count.
RELATIVES = """
    SELECT CASE WHEN p.relname = ANY(%(ledger)s) THEN p.relname ELSE c.relname END,
           format('%%I.%%I', cn.nspname, c.relname), format('%%I.%%I', pn.nspname, p.relname)
      FROM pg_inherits i
      JOIN pg_class c ON c.oid = i.inhrelid
      JOIN pg_namespace cn ON cn.oid = c.relnamespace
      JOIN pg_class p ON p.oid = i.inhparent
      JOIN pg_namespace pn ON pn.oid = p.relnamespace
     WHERE (pn.nspname = %(schema)s AND p.relname = ANY(%(ledger)s))
        OR (cn.nspname = %(schema)s AND c.relname = ANY(%(ledger)s))
     ORDER BY 2
"""
# Rows that arrive through a subscription fire no triggers.
SUBSCRIPTIONS = """
    SELECT c.relname, s.subname
      FROM pg_subscription_rel r
      JOIN pg_class c ON c.oid = r.srrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN LATERAL (SELECT coalesce((SELECT subname FROM pg_stat_subscription WHERE subid = r.srsubid LIMIT 1),
                                    r.srsubid::text) AS subname) AS s ON true
     WHERE n.nspname = %(schema)s AND c.relname = ANY(%(ledger)s)
     ORDER BY 1
"""
SWITCHES = """
    SELECT quote_ident(r.rolname)
      FROM pg_roles r
     WHERE NOT r.rolsuper AND has_parameter_privilege(r.oid, 'session_replication_role', 'SET')
       AND has_any_column_privilege(r.oid, format('%%I."PointTransaction"', %(schema)s::text), 'INSERT, UPDATE')
     ORDER BY 1
"""
DEFAULTS = """
    SELECT coalesce('ROLE ' || quote_ident(rolname), '') ||
           coalesce(CASE WHEN rolname IS NULL THEN 'DATABASE ' ELSE ' IN DATABASE ' END || quote_ident(datname), '')
      FROM pg_db_role_setting s
      LEFT JOIN pg_roles r ON r.oid = s.setrole
      LEFT JOIN pg_database d ON d.oid = s.setdatabase
     WHERE (datname IS NULL OR datname = current_database())
       AND EXISTS (SELECT FROM unnest(setconfig) AS set
                    WHERE set LIKE 'session_replication_role=%%' AND set NOT LIKE '%%=origin')
     ORDER BY 1
"""
LEDGER_TABLES = ["Member", "PointTransaction"]


@verification.register("ways past the points triggers")
def ways_past(database: Database) -> Iterator[Finding]:
    """Check that no rows can get into the ledger, or be read with it, without its triggers."""
    for table, child, parent in database.rows(RELATIVES, ledger=LEDGER_TABLES):
        yield failed(
            f"{child} inherits from {parent}: its rows are read as rows of {table}, but no trigger counts them",
            f"SET lock_timeout TO '100ms'; ALTER TABLE {child} NO INHERIT {parent};",
        )
    for table, subscription in database.rows(SUBSCRIPTIONS, ledger=LEDGER_TABLES):
        yield failed(
            f"subscription {subscription} writes to {table}, with triggers off",
            f"leave {table} out of the publication, then ALTER SUBSCRIPTION … REFRESH PUBLICATION",
        )
    for role in (row[0] for row in database.rows(SWITCHES)):
        yield warning(
            f"{role} may set session_replication_role, which switches triggers off",
            f"REVOKE SET ON PARAMETER session_replication_role FROM {role};",
        )
    for where in (row[0] for row in database.rows(DEFAULTS)):
        yield failed(
            f"sessions begin with triggers off: {where}",
            f"ALTER {where} RESET session_replication_role;",
        )
    yield note("no child tables, subscriptions, or roles that may switch triggers off")


ADD_MEMBER = (
    """INSERT INTO "Member" (id, "updatedAt") VALUES (%(member)s, CURRENT_TIMESTAMP AT TIME ZONE 'UTC')"""
)
# A Friday, and the Monday after.
ADD_ROW = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt", "idempotencyKey")
    VALUES (%(row)s, %(member)s, 'verify_schema', 7, '2026-01-02 12:00', %(row)s)
"""
ADD_SEVERAL_ROWS = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
    VALUES (%(row)s || '2', %(member)s, 'verify_schema', 5, '2026-01-05 12:00'),
           (%(row)s || '3', %(member)s, 'admin_adjustment', -2, '2026-01-06 12:00')
"""
FIGURES = """
    SELECT "totalPoints", "pointsMonth"::text, "monthPoints", "lastActiveAt"::text, "currentStreak"
      FROM "Member"
     WHERE id = %(member)s
"""
EXPECTED = (10, "2026-01-01", 10, "2026-01-05 12:00:00", 2)
ADD_AGAIN = f"{ADD_ROW} ON CONFLICT DO NOTHING RETURNING id".replace("(%(row)s,", "(%(row)s || '4',", 1)
ADD_ABROAD = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points)
    VALUES (%(row)s || '5', %(member)s, 'verify_schema', 1)
    RETURNING "createdAt" = (CURRENT_TIMESTAMP AT TIME ZONE 'UTC')::timestamp(3)
"""
REFUSED = {
    "a change of a row": 'UPDATE "PointTransaction" SET points = 8 WHERE id = %(row)s',
    "the deletion of a row": 'DELETE FROM "PointTransaction" WHERE id = %(row)s',
    "a reversal with other points": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, "reversesId")
        VALUES (%(row)s || '6', %(member)s, 'reversal', -6, %(row)s)
    """,
    "moving rows to another member": """
        WITH gone AS (DELETE FROM "Member" WHERE id = %(member)s)
        UPDATE "PointTransaction" SET "memberId" = %(member)s || '2' WHERE "memberId" = %(member)s
    """,
    "a row dated in the future": """
        INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
        VALUES (%(row)s || '7', %(member)s, 'verify_schema', 1, now() AT TIME ZONE 'UTC' + interval '1 day')
    """,
}
REMOVE_MEMBER = 'DELETE FROM "Member" WHERE id = %(member)s'
ROWS_LEFT = 'SELECT count(*) FROM "PointTransaction" WHERE "memberId" = %(member)s'
ROLE = "SELECT current_setting('session_replication_role'), quote_ident(session_user)"


@verification.register("points trigger, tried", own_transactions=True)
def trial(database: Database) -> Iterator[Finding]:
    """Check that the ledger's triggers work, using a temporary member. Everything is rolled back.

    TRUNCATE is not tried, because it locks the table before it is refused.
    """
    if not database.takes_writes:
        yield warning("not tried, as the server takes no writes", "set DATABASE_URL to the primary")
        return
    with database.transaction():
        [(replication, role)] = database.rows(ROLE)
    faults: list[str] = []
    try:
        with database.transaction(read_only=False):
            faults += _try_ledger(database)
    except DatabaseError as error:
        if failures.is_lost_connection(error):
            raise
        faults.append(f"no row could be added: {first_line(error)}")
    cure = (
        "fix what the other checks report, and verify again"
        if replication == "origin"
        else f"ALTER ROLE {role} RESET session_replication_role;"
    )
    for fault in faults:
        yield failed(fault, cure)
    yield note(f"totals and streak follow; {', '.join(REFUSED)} refused; all rolled back")


def _try_ledger(database: Database) -> Iterator[str]:
    given = {"member": cuid(), "row": cuid()}
    with database.connection.cursor() as cursor:
        for statement in (ADD_MEMBER, ADD_ROW, ADD_SEVERAL_ROWS, FIGURES):
            cursor.execute(statement, given)
        if (found := cursor.fetchone()) != EXPECTED:
            yield f"7, 5 and -2 points gave the total, month, activity and streak {found}, expected {EXPECTED}"
        cursor.execute(ADD_AGAIN, given)
        if cursor.fetchall():
            yield "a second row with the same key was added, expected none"
        for what, statement in REFUSED.items():
            try:
                with transaction.atomic(using=database.connection.alias):
                    cursor.execute(statement, given)
                    transaction.set_rollback(True, using=database.connection.alias)
            except IntegrityError:
                continue
            yield f"{what} was accepted, expected a refusal"
        cursor.execute("SET LOCAL TIME ZONE 'Pacific/Kiritimati'")
        cursor.execute(ADD_ABROAD, given)
        if cursor.fetchone() != (True,):
            yield "a row from a session in another time zone has that zone's time, expected UTC"
        cursor.execute(REMOVE_MEMBER, given)
        cursor.execute(ROWS_LEFT, given)
        if cursor.fetchone() != (0,):
            yield "the rows of a deleted member are still there, expected none"
