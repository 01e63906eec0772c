"""The step from version 1 to version 2 as SQL: in one go, and one thing after the other."""

from collections.abc import Iterator
from typing import LiteralString, NamedTuple


class Statement(NamedTuple):
    label: str
    sql: LiteralString


class Table(NamedTuple):
    name: LiteralString
    columns: LiteralString
    keys: dict[LiteralString, LiteralString]  # columns, and the tables that they refer to
    indexes: dict[LiteralString, LiteralString]  # names after the table's, and what they index


ENUMS: LiteralString = """
    CREATE TYPE "BenchmarkCategory" AS ENUM ('COMPENSATION', 'INFRASTRUCTURE', 'BUSINESS', 'OPERATIONAL');
    CREATE TYPE "DiscordActivityType" AS ENUM ('MESSAGE', 'REACTION_GIVEN', 'REACTION_RECEIVED');
    CREATE TYPE "ResourceCategory" AS ENUM
        ('COLD_EMAIL', 'SALES_GTM', 'CUSTOMER_SERVICE', 'OPERATIONS', 'AGENCY_GROWTH');
    CREATE TYPE "ResourceType" AS ENUM ('TEMPLATE', 'SOP', 'PLAYBOOK', 'COURSE', 'VIDEO');
"""
COLUMNS: LiteralString = """
    ALTER TABLE "Member"
      ADD COLUMN "currentStreak" INTEGER NOT NULL DEFAULT 0,
      ADD COLUMN "lastActiveAt" TIMESTAMP(3),
      ADD COLUMN "totalPoints" INTEGER NOT NULL DEFAULT 0
"""
TABLES = (
    Table(
        "PointTransaction",
        """ "id" TEXT PRIMARY KEY, "memberId" TEXT NOT NULL, "action" TEXT NOT NULL, "points" INTEGER NOT NULL,
            "metadata" JSONB, "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP """,
        keys={"memberId": "Member"},
        indexes={"action": '("action")', "createdAt": '("createdAt")', "memberId": '("memberId")'},
    ),
    Table(
        "DiscordActivity",
        """ "id" TEXT PRIMARY KEY, "memberId" TEXT NOT NULL, "discordId" TEXT NOT NULL,
            "activityType" "DiscordActivityType" NOT NULL, "xpDelta" INTEGER, "xpTotal" INTEGER,
            "syncedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP """,
        keys={"memberId": "Member"},
        indexes={"discordId": '("discordId")', "memberId": '("memberId")', "syncedAt": '("syncedAt")'},
    ),
    Table(
        "Resource",
        """ "id" TEXT PRIMARY KEY, "title" TEXT NOT NULL, "description" TEXT NOT NULL,
            "category" "ResourceCategory" NOT NULL, "type" "ResourceType" NOT NULL, "fileUrl" TEXT NOT NULL,
            "thumbnailUrl" TEXT, "isFeatured" BOOLEAN NOT NULL DEFAULT false,
            "downloadCount" INTEGER NOT NULL DEFAULT 0,
            "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL """,
        keys={},
        indexes={"category": '("category")', "isFeatured": '("isFeatured")', "type": '("type")'},
    ),
    Table(
        "ResourceDownload",
        """ "id" TEXT PRIMARY KEY, "resourceId" TEXT NOT NULL, "memberId" TEXT NOT NULL,
            "downloadedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP """,
        keys={"resourceId": "Resource", "memberId": "Member"},
        indexes={
            "downloadedAt": '("downloadedAt")',
            "memberId": '("memberId")',
            "resourceId": '("resourceId")',
        },
    ),
    Table(
        "BenchmarkSubmission",
        """ "id" TEXT PRIMARY KEY, "memberId" TEXT NOT NULL, "category" "BenchmarkCategory" NOT NULL,
            "data" JSONB NOT NULL, "isValid" BOOLEAN NOT NULL DEFAULT true,
            "submittedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL,
            UNIQUE ("memberId", "category") """,
        keys={"memberId": "Member"},
        indexes={
            "category": '("category")',
            "data": 'USING gin ("data" jsonb_path_ops)',
            "memberId": '("memberId")',
        },
    ),
)
TRIGGER: LiteralString = """
    CREATE FUNCTION update_member_total_points() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE "Member"
         SET "totalPoints" = "totalPoints" + NEW.points, "lastActiveAt" = NEW."createdAt"
       WHERE id = NEW."memberId";
      RETURN NEW;
    END $$;
    CREATE TRIGGER trg_update_member_points AFTER INSERT ON "PointTransaction"
    FOR EACH ROW EXECUTE FUNCTION update_member_total_points();
"""
REFERENCE: LiteralString = """FOREIGN KEY ("{}") REFERENCES "{}"("id") ON DELETE CASCADE ON UPDATE CASCADE"""


def in_one_go() -> Iterator[Statement]:
    """Change everything by the shortest way: for a single transaction."""
    yield Statement("columns", COLUMNS)
    yield Statement("enums", ENUMS)
    for table in TABLES:
        keys = [REFERENCE.format(column, parent) for column, parent in table.keys.items()]
        yield Statement(table.name, f'CREATE TABLE "{table.name}" ({", ".join([table.columns, *keys])})')
    yield from _indexes("CREATE INDEX")
    yield Statement("trigger", TRIGGER)


def step_by_step() -> Iterator[Statement]:
    """Change it as the manual advises for a table in use: every statement is a transaction of its own."""
    yield Statement("columns", COLUMNS)
    yield Statement("enums", ENUMS)
    for table in TABLES:
        yield Statement(table.name, f'CREATE TABLE "{table.name}" ({table.columns})')
    for table in TABLES:
        for column, parent in table.keys.items():
            name = f"{table.name}_{column}_fkey"
            alter = f'ALTER TABLE "{table.name}"'
            reference = REFERENCE.format(column, parent)
            yield Statement(name, f'{alter} ADD CONSTRAINT "{name}" {reference} NOT VALID')
            yield Statement(f"validate {name}", f'{alter} VALIDATE CONSTRAINT "{name}"')
    yield from _indexes("CREATE INDEX CONCURRENTLY")
    yield Statement("trigger", TRIGGER)


def _indexes(create: LiteralString) -> Iterator[Statement]:
    name: LiteralString = "Member_totalPoints_idx"
    yield Statement(name, f'{create} "{name}" ON "Member" ("totalPoints" DESC)')
    for table in TABLES:
        for suffix, what in table.indexes.items():
            name = f"{table.name}_{suffix}_idx"
            yield Statement(name, f'{create} "{name}" ON "{table.name}" {what}')
