"""A ledger for measurements. Members have ten rows on average: a few have thousands, most have only some."""

import logging

from council.rehearsal import filling
from gamification import rehearsal
from tests.performance.measuring import Server

log = logging.getLogger(__name__)

ROWS_A_MEMBER = 10
BATCH_MEMBERS = 10_000
TABLES = ["Member", "PointTransaction"]

# The cube gives many rows to a few members, and the prime scatters these over the ids. Most points are 5, so many
# members have the same total.
LOAD_LEDGER = """
    INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt"{key_column})
    SELECT 'r' || lpad(n::text, 24, '0'),
           'm' || lpad(((floor(%(members)s * random() ^ 3)::bigint * 7919) %% %(members)s)::text, 24, '0'),
           (ARRAY['resource_download', 'resource_download', 'discord_activity', 'benchmark_submission'])[1 + n %% 4],
           (ARRAY[5, 5, 1 + n %% 7, 50])[1 + n %% 4],
           (now() AT TIME ZONE 'UTC')::timestamp(3) - random() * interval '730 days'{key}
      FROM generate_series(1, %(rows)s::bigint) AS n
"""
MEMBERS = """
    INSERT INTO "Member" (id, email, "discordId", "stripeCustomerId", "firstName", "lastName", company,
                          "subscriptionStatus", "createdAt", "updatedAt"{columns})
    SELECT given.id, 'member' || n || '@example.com', (10 ^ 17)::bigint + n, 'cus_' || n, 'First' || n, 'Last' || n,
           'Company' || n, (CASE WHEN n %% 10 = 0 THEN 'CANCELLED' ELSE 'ACTIVE' END)::"SubscriptionStatus",
           now() - n %% 730 * interval '1 day', now(){values}
      FROM generate_series(%(first)s::int, %(last)s::int) AS n
     CROSS JOIN LATERAL (SELECT 'm' || lpad(n::text, 24, '0') AS id) AS given
"""
FIGURES = """
      LEFT JOIN points_by_ledger(ARRAY(SELECT 'm' || lpad(n::text, 24, '0')
                                         FROM generate_series(%(first)s::int, %(last)s::int) AS n)) AS ledger
        ON ledger.member_id = given.id
"""
MEMBERS_WITH_FIGURES = (
    MEMBERS.format(
        columns=', "leaderboardVisible", "totalPoints", "pointsMonth", "monthPoints", "lastActiveAt", "currentStreak"',
        values=""", n %% 33 <> 0, coalesce(ledger.total_points, 0), ledger.points_month,
            coalesce(ledger.month_points, 0), ledger.last_active_at, coalesce(ledger.streak, 0)""",
    )
    + FIGURES
)


def member_id(number: int) -> str:
    """Return a member's id. Number 0 has the most rows."""
    return f"m{number:024}"


def fill(server: Server, database: str, *, members: int) -> None:
    """Fill a migrated database with triggers and indexes off. Members are inserted together with their figures."""
    rows = members * ROWS_A_MEMBER
    with server.connect(database) as session, filling.without_indexes(session, TABLES):
        session.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        session.execute("SELECT setseed(0.5)")
        load = LOAD_LEDGER.format(key_column=', "idempotencyKey"', key=", 'award:' || n")
        session.execute(load.encode(), {"members": members, "rows": rows})
        log.info("%s: %s ledger rows are there", database, f"{rows:,}")
        session.execute('CREATE INDEX by_member ON "PointTransaction" ("memberId", "createdAt")')
        session.execute('ANALYZE "PointTransaction"')
        for first in range(0, members, BATCH_MEMBERS):
            last = min(first + BATCH_MEMBERS, members) - 1
            session.execute(MEMBERS_WITH_FIGURES.encode(), {"first": first, "last": last})
        session.execute("DROP INDEX by_member")
        log.info("%s: %s members are there", database, f"{members:,}")
    settle(server, database)


def fill_before_0006(server: Server, database: str, *, members: int) -> None:
    """Fill a database at gamification 0005, where members have a total but no other figures."""
    fill_plan(server, database, members=members, ledger_rows=members * ROWS_A_MEMBER)


def fill_plan(server: Server, database: str, *, members: int, ledger_rows: int) -> None:
    """Fill a database in the state after the gateway's plan, or at gamification 0005."""
    with server.connect(database) as session, filling.without_indexes(session, TABLES):
        session.execute(MEMBERS.format(columns="", values="").encode(), {"first": 0, "last": members - 1})
        session.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        load = LOAD_LEDGER.format(key_column="", key="")
        session.execute(load.encode(), {"members": members, "rows": ledger_rows})
        session.execute(rehearsal.TOTALS)
    settle(server, database)


def settle(server: Server, database: str) -> None:
    with server.connect(database) as session:
        session.execute("VACUUM (FREEZE, ANALYZE)")
        session.execute("CHECKPOINT")
