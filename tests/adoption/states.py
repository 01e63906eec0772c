"""The states that production may be in: version 1, followed by any number of statements of the gateway's plan."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.databases import Database

SCHEMA = Path(__file__).resolve().parent.parent / "schema"
V1 = (SCHEMA / "v1.sql").read_text()

ROWS = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt")
SELECT 't' || n, 'Team ' || n, 'cus_t' || n, now() FROM generate_series(1, 10) AS n;
INSERT INTO "Member" (id, email, "teamId", "subscriptionStatus", "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', 't' || 1 + n % 10, 'ACTIVE', now() FROM generate_series(1, 100) AS n;
INSERT INTO "Admin" (id, email, "passwordHash", "updatedAt") VALUES ('a1', 'sam@example.com', '$argon2id$', now());
INSERT INTO "PendingInvite" (id, "teamId", "seatTier", token, "createdBy")
VALUES ('p1', 't1', 'TEAM_MEMBER', 'secret', 'm2');
INSERT INTO "FeatureFlag" (id, key, "updatedAt") VALUES ('f1', 'flag', now());
INSERT INTO "EmailTemplate" (id, name, subject, body, "updatedAt") VALUES ('e1', 'hello', 'Hi', 'Hi', now());
INSERT INTO "StripeEvent" (id, "eventId", type) VALUES ('s1', 'evt_1', 'invoice.paid');
INSERT INTO "AuditLog" (id, action, "entityType", "entityId") VALUES ('l1', 'login', 'Member', 'm1');
INSERT INTO "ReconciliationRun" (id, "triggeredBy") VALUES ('r1', 'a1');
"""
# For the plan's tables, if they exist.
PLAN_ROWS = {
    "BenchmarkSubmission": """
INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
SELECT 'b' || n, 'm' || n, 'BUSINESS', '{"agency_type": "hybrid"}', now() FROM generate_series(1, 50) AS n""",
    "Resource": """
INSERT INTO "Resource" (id, title, description, category, type, "fileUrl", "updatedAt")
SELECT 'r' || n, 'Title ' || n, '', 'SALES_GTM', 'SOP', 'https://example.com/' || n, now()
  FROM generate_series(1, 20) AS n""",
    "ResourceDownload": """
INSERT INTO "ResourceDownload" (id, "memberId", "resourceId")
SELECT 'd' || n, 'm' || n, 'r' || 1 + n % 20 FROM generate_series(1, 50) AS n""",
    "PointTransaction": """
INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
SELECT 'x' || n, 'm' || 1 + n % 40, 'resource_download', 5, timestamp '2026-10-01' + n * interval '1 hour'
  FROM generate_series(1, 200) AS n""",
    "DiscordActivity": """
INSERT INTO "DiscordActivity" (id, "memberId", "discordId", "activityType", "xpTotal")
SELECT 'a' || n, 'm' || n, 'discord' || n, 'MESSAGE', n FROM generate_series(1, 50) AS n""",
}


@dataclass(frozen=True)
class Statement:
    step: int
    sql: str


def plan() -> list[Statement]:
    """Read the gateway's plan."""
    text = (SCHEMA / "plan.sql").read_text()
    found = []
    for number, step in enumerate(re.split(r"^-- Step \d+: .*$", text, flags=re.MULTILINE)):
        statements = re.split(r"\n\n(?=[A-Z])", step.strip()) if number else []
        found += [Statement(number, sql) for sql in statements]
    return found


PLAN = plan()
STEPS = PLAN[-1].step


@dataclass(frozen=True)
class State:
    """How version 1 was changed, and what migrate replaces in it; or else why migrate refuses it."""

    name: str
    statements: tuple[str, ...]
    says: tuple[str, ...] = ()
    refused: bool = False
    cure: tuple[str, ...] = ()  # after it, migrate succeeds


def upto(step: int) -> tuple[str, ...]:
    return tuple(statement.sql for statement in PLAN if statement.step <= step)


def on_the_way() -> list[State]:
    """The states after each statement of the plan, including the ends of its steps."""
    found = [State("version 1", ())]
    for count, (statement, following) in enumerate(zip(PLAN, [*PLAN[1:], None], strict=True), start=1):
        is_end = following is None or following.step != statement.step
        where = "after" if is_end else f"statement {count} of the plan, in"
        found.append(State(f"{where} step {statement.step}", tuple(one.sql for one in PLAN[:count])))
    return found


def tables(session: psycopg.Connection) -> list[str]:
    query = b"SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    return [table for (table,) in session.execute(query)]


def wait_for_build(database: Database) -> None:
    deadline = time.monotonic() + 60
    while not database.fetch(
        "SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database()"
    ):
        assert time.monotonic() < deadline, "no build began"
        time.sleep(0.02)


def invalid(index: str) -> str:
    return f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '\"{index}\"'::regclass"


def interrupted_builds() -> list[State]:
    """States with an INVALID index after an interrupted build, or with a copy that REINDEX left."""
    found = []
    for statement in PLAN:
        match = re.match(r'CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?"(\w+)" ON (.*);$', statement.sql)
        if match:
            name, on = match.groups()
            before = upto(statement.step)
            found.append(State(f"in step {statement.step}, {name} INVALID", (*before, invalid(name))))
            copy = f"{name}_ccnew"
            made = f'CREATE INDEX "{copy}" ON {on}'
            found.append(State(f"after step {statement.step}, {copy} left", (*before, made, invalid(copy))))
    return found


KEY = (
    'ALTER TABLE "{table}" DROP CONSTRAINT "{name}", ADD CONSTRAINT "{name}" FOREIGN KEY ("{column}") '
    'REFERENCES "{to}" (id) {rest}'
)
KEYS = [
    ("BenchmarkSubmission", "memberId", "Member"),
    ("ResourceDownload", "memberId", "Member"),
    ("ResourceDownload", "resourceId", "Resource"),
    ("PointTransaction", "memberId", "Member"),
    ("DiscordActivity", "memberId", "Member"),
]


def key(table: str, column: str, to: str, rest: str) -> str:
    return KEY.format(table=table, name=f"{table}_{column}_fkey", column=column, to=to, rest=rest)


def index(name: str, on: str, *, unique: bool = False) -> tuple[str, str]:
    return f'DROP INDEX "{name}"', f'CREATE {"UNIQUE " if unique else ""}INDEX "{name}" ON {on}'


UNIQUE = "BenchmarkSubmission_memberId_category_key"
UNIQUE_CONSTRAINT = (
    f'DROP INDEX "{UNIQUE}"',
    f'ALTER TABLE "BenchmarkSubmission" ADD CONSTRAINT "{UNIQUE}" UNIQUE ("memberId", category)',
)
TRIGGER, FUNCTION = "trg_update_member_points", "update_member_total_points"


def variants() -> list[State]:
    """States with definitions that mean the same as the contract's, which migrate replaces."""
    all_of_it = upto(STEPS)
    said_of_unique = (f'found UNIQUE ("memberId", category) as {UNIQUE}',)
    found = [
        State("unique constraint, after step 1", (*upto(1), *UNIQUE_CONSTRAINT), said_of_unique),
        State(f"unique constraint, after step {STEPS}", (*all_of_it, *UNIQUE_CONSTRAINT), said_of_unique),
        State(
            "unique index in another order",
            (*all_of_it, *index(UNIQUE, '"BenchmarkSubmission" (category, "memberId")', unique=True)),
            ('USING btree (category, "memberId"), replaced by',),
        ),
        State(
            "jsonb_ops",
            (*all_of_it, *index("BenchmarkSubmission_data_idx", '"BenchmarkSubmission" USING gin (data)')),
            ("USING gin (data), replaced by",),
        ),
        State(
            "jsonb_ops, INVALID",
            (
                *all_of_it,
                *index("BenchmarkSubmission_data_idx", '"BenchmarkSubmission" USING gin (data)'),
                invalid("BenchmarkSubmission_data_idx"),
            ),
        ),
        State(
            "totalPoints ascending",
            (*all_of_it, *index("Member_totalPoints_idx", '"Member" ("totalPoints")')),
            ('USING btree ("totalPoints"), replaced by',),
        ),
        State(
            "totalPoints ascending, and its successor built",
            (
                *all_of_it,
                *index("Member_totalPoints_idx", '"Member" ("totalPoints")'),
                'CREATE INDEX "Member_totalPoints_idx_ccnew" ON "Member" ("totalPoints" DESC)',
            ),
            ('USING btree ("totalPoints"), replaced by',),
        ),
        State(
            "the successor built, and its predecessor gone",
            (
                *all_of_it,
                'DROP INDEX "Member_totalPoints_idx"',
                'CREATE INDEX "Member_totalPoints_idx_ccnew" ON "Member" ("totalPoints" DESC)',
            ),
        ),
        State(
            "columns in another order",
            (
                *upto(1),
                'ALTER TABLE "Member" DROP COLUMN "currentStreak", DROP COLUMN "totalPoints"',
                'ALTER TABLE "Member" ADD "totalPoints" integer NOT NULL DEFAULT 0, '
                'ADD "currentStreak" integer NOT NULL DEFAULT 0',
                'ALTER TABLE "Resource" DROP COLUMN "isFeatured"',
                'ALTER TABLE "Resource" ADD "isFeatured" boolean NOT NULL DEFAULT false',
            ),
        ),
        State("function without its trigger", (*all_of_it, f'DROP TRIGGER {TRIGGER} ON "PointTransaction"')),
        State(
            "neither trigger nor function",
            (*all_of_it, f'DROP TRIGGER {TRIGGER} ON "PointTransaction"', f"DROP FUNCTION {FUNCTION}"),
        ),
        State(
            "trigger with search_path",
            (*all_of_it, f"ALTER FUNCTION {FUNCTION}() SET search_path = public"),
            (f"found CREATE TRIGGER {TRIGGER}",),
        ),
        State(
            "trigger disabled",
            (*all_of_it, f'ALTER TABLE "PointTransaction" DISABLE TRIGGER {TRIGGER}'),
            (f"found CREATE TRIGGER {TRIGGER}",),
        ),
        State(
            "trigger, FOR EACH STATEMENT",
            (
                *all_of_it,
                f"CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                'UPDATE "Member" SET "totalPoints" = "totalPoints" + s.points FROM (SELECT "memberId", '
                'sum(points) AS points FROM added GROUP BY 1) AS s WHERE id = "memberId"; RETURN NULL; END $$',
                f'CREATE OR REPLACE TRIGGER {TRIGGER} AFTER INSERT ON "PointTransaction" '
                f"REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()",
            ),
            (f"found CREATE TRIGGER {TRIGGER}",),
        ),
    ]
    found += [
        State(
            f"{table}_{column}_fkey without ON UPDATE CASCADE{valid}",
            (*all_of_it, key(table, column, to, f"ON DELETE CASCADE{valid}")),
            (f'REFERENCES "{to}"(id) ON DELETE CASCADE{valid} as {table}_{column}_fkey, replaced by',),
        )
        for table, column, to in KEYS
        for valid in ("", " NOT VALID")
    ]
    together = [
        state for state in found if len(state.statements) > len(all_of_it) and "trigger" not in state.name
    ]
    named = {"unique constraint, after step 20", "jsonb_ops", "totalPoints ascending"} | {
        state.name for state in together if state.name.endswith("CASCADE")
    }
    chosen = [state for state in together if state.name in named]
    found.append(
        State(
            "all at once",
            all_of_it + sum((state.statements[len(all_of_it) :] for state in chosen), ()),
            sum((state.says for state in chosen), ()),
        )
    )
    return found


def to_be_killed() -> list[State]:
    """Choose some of each kind: with and without tables, rows, indexes, and a trigger that counts."""
    named = {"all at once", f"unique constraint, after step {STEPS}", "jsonb_ops", "totalPoints ascending"}
    named |= {
        "neither trigger nor function",
        "trigger disabled",
        "the successor built, and its predecessor gone",
    }
    named |= {
        "version 1",
        "statement 5 of the plan, in step 1",
        "after step 1",
        "after step 3",
        "after step 12",
    }
    named |= {
        "in step 5, BenchmarkSubmission_memberId_idx INVALID",
        "after step 9, Resource_type_idx_ccnew left",
    }
    whole = State("all of the plan", upto(STEPS))
    chosen = [state for state in (*on_the_way(), *interrupted_builds(), *variants()) if state.name in named]
    return [whole, *chosen] * 2
