"""The states that migrate refuses. It must say what it found, and change nothing."""

from tests.adoption.states import (
    FUNCTION,
    PLAN_ROWS,
    STEPS,
    TRIGGER,
    UNIQUE,
    State,
    index,
    key,
    upto,
)


def refused() -> list[State]:
    """Lists states that migrate refuses, with the differences that it must list, and SQL that repairs them."""
    all_of_it = upto(STEPS)
    other_type = (
        'ALTER TABLE "Member" ALTER "totalPoints" DROP DEFAULT, ALTER "totalPoints" TYPE text, '
        """ALTER "totalPoints" SET DEFAULT '0'"""
    )
    downloads_renamed = 'ALTER TABLE "ResourceDownload" RENAME TO "Downloads"'
    back = 'ALTER TABLE "Downloads" RENAME TO "ResourceDownload"'
    unkeyed = 'ALTER TABLE "ResourceDownload" DROP CONSTRAINT "ResourceDownload_memberId_fkey"'
    orphans = """INSERT INTO "ResourceDownload" (id, "memberId", "resourceId")
        SELECT 'o' || n, 'nobody' || n % 2, 'r1' FROM generate_series(1, 12) AS n"""
    second = f'CREATE TRIGGER counts_too AFTER INSERT ON "PointTransaction" FOR EACH ROW EXECUTE FUNCTION {FUNCTION}()'
    return [
        State(
            "column of another type",
            (*upto(1), 'DROP INDEX IF EXISTS "Member_totalPoints_idx"', other_type),
            (
                "different  column Member.totalPoints: expected integer NOT NULL DEFAULT 0; found text NOT NULL",
            ),
            True,
            (
                'ALTER TABLE "Member" ALTER "totalPoints" DROP DEFAULT, ALTER "totalPoints" TYPE integer '
                'USING "totalPoints"::integer, ALTER "totalPoints" SET DEFAULT 0',
            ),
        ),
        State(
            "a view",
            (*upto(1), downloads_renamed, 'CREATE VIEW "ResourceDownload" AS TABLE "Downloads"'),
            ("different  table ResourceDownload: expected table; found view",),
            True,
            ('DROP VIEW "ResourceDownload"', back),
        ),
        State(
            "partitioned",
            (
                *upto(1),
                'DROP TABLE "ResourceDownload"',
                'CREATE TABLE "ResourceDownload" (id text, "memberId" text, "resourceId" text, '
                '"downloadedAt" timestamp(3)) PARTITION BY HASH (id)',
            ),
            ("different  table ResourceDownload: expected table; found partitioned table",),
            True,
            ('DROP TABLE "ResourceDownload"',),
        ),
        State(
            "a foreign table",
            (
                *upto(1),
                'DROP TABLE "ResourceDownload"',
                "CREATE FOREIGN DATA WRAPPER nothing",
                "CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
                'CREATE FOREIGN TABLE "ResourceDownload" (id text) SERVER nowhere',
            ),
            ("different  table ResourceDownload: expected table; found foreign table",),
            True,
            ("DROP FOREIGN DATA WRAPPER nothing CASCADE",),
        ),
        State(
            "enum of other labels",
            (*upto(1), """ALTER TYPE "ResourceType" ADD VALUE 'PODCAST'"""),
            (
                "different  enum ResourceType: expected 'TEMPLATE', 'SOP', 'PLAYBOOK', 'COURSE', 'VIDEO'; found ",
            ),
            True,
        ),
        State(
            "enum without a label",
            (
                """CREATE TYPE "ResourceType" AS ENUM ('TEMPLATE', 'SOP', 'PLAYBOOK', 'COURSE')""",
                *(sql for sql in upto(1) if not sql.startswith('CREATE TYPE "ResourceType"')),
            ),
            (
                "different  enum ResourceType: expected 'TEMPLATE', 'SOP', 'PLAYBOOK', 'COURSE', 'VIDEO'; found ",
            ),
            True,
            ("""ALTER TYPE "ResourceType" ADD VALUE 'VIDEO'""",),
        ),
        State(
            "column of another type in a table of the plan",
            (
                *upto(1),
                PLAN_ROWS["DiscordActivity"],
                'ALTER TABLE "DiscordActivity" ALTER "xpTotal" TYPE bigint',
            ),
            ("different  column DiscordActivity.xpTotal: expected integer", "; found bigint"),
            True,
            ('ALTER TABLE "DiscordActivity" ALTER "xpTotal" TYPE integer',),
        ),
        State(
            "a materialized view",
            (
                *upto(1),
                downloads_renamed,
                'CREATE MATERIALIZED VIEW "ResourceDownload" AS TABLE "Downloads"',
            ),
            ("different  table ResourceDownload: expected table; found materialized view",),
            True,
            ('DROP MATERIALIZED VIEW "ResourceDownload"', back),
        ),
        State(
            "a second trigger with a function of its own that counts",
            (
                *all_of_it,
                "CREATE FUNCTION count_too() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE "
                """"Member" SET "totalPoints" = "totalPoints" + NEW.points WHERE id = NEW."memberId"; """
                "RETURN NULL; END $$",
                'CREATE TRIGGER counts_too AFTER INSERT ON "PointTransaction" '
                "FOR EACH ROW EXECUTE FUNCTION count_too()",
            ),
            ("extra      trigger PointTransaction.counts_too",),
            True,
            ('DROP TRIGGER counts_too ON "PointTransaction"', "DROP FUNCTION count_too"),
        ),
        State(
            "duplicates",
            (
                *upto(1),
                f'DROP INDEX "{UNIQUE}"',
                """INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt")
                SELECT 'twice' || n, 'm90', 'COMPENSATION', '{}', now() FROM generate_series(1, 3) AS n""",
            ),
            ("""3 rows with "memberId" = 'm90' AND "category" = 'COMPENSATION'""", UNIQUE),
            True,
            ("""DELETE FROM "BenchmarkSubmission" WHERE id IN ('twice1', 'twice2')""",),
        ),
        State(
            "orphans",
            (*upto(1), PLAN_ROWS["Resource"], orphans),
            ("""6 rows with "memberId" = 'nobody0'""", "ResourceDownload_memberId_fkey"),
            True,
            ("""DELETE FROM "ResourceDownload" WHERE "memberId" LIKE 'nobody%'""",),
        ),
        State(
            "orphans under a key that is not valid",
            (*all_of_it, PLAN_ROWS["Resource"], unkeyed, orphans, key_not_valid()),
            ("""6 rows with "memberId" = 'nobody1'""",),
            True,
            ("""DELETE FROM "ResourceDownload" WHERE "memberId" LIKE 'nobody%'""",),
        ),
        State(
            "two triggers that count",
            (*all_of_it, second),
            ("extra      trigger PointTransaction.counts_too",),
            True,
            ('DROP TRIGGER counts_too ON "PointTransaction"',),
        ),
        State(
            "a total that overflows",
            (
                *upto(1),
                """INSERT INTO "PointTransaction" (id, "memberId", action, points)
                SELECT 'much' || n, 'm7', 'admin_adjustment', 2000000000 FROM generate_series(1, 2) AS n""",
            ),
            ("""4000000000 points of member "m7\"""",),
            True,
            ("""DELETE FROM "PointTransaction" WHERE id = 'much2'""",),
        ),
        State(
            "key with ON DELETE RESTRICT",
            (
                *all_of_it,
                key("ResourceDownload", "memberId", "Member", "ON UPDATE CASCADE ON DELETE RESTRICT"),
            ),
            ("different  constraint ResourceDownload.ResourceDownload_memberId_fkey: expected FOREIGN KEY",),
            True,
            (key("ResourceDownload", "memberId", "Member", "ON UPDATE CASCADE ON DELETE CASCADE"),),
        ),
        State(
            "deferrable key",
            (
                *all_of_it,
                'ALTER TABLE "DiscordActivity" ALTER CONSTRAINT "DiscordActivity_memberId_fkey" DEFERRABLE',
            ),
            ("ON DELETE CASCADE DEFERRABLE",),
            True,
            (
                'ALTER TABLE "DiscordActivity" ALTER CONSTRAINT "DiscordActivity_memberId_fkey" NOT DEFERRABLE',
            ),
        ),
        State(
            "partial index",
            (*all_of_it, *index("Resource_type_idx", """"Resource" (type) WHERE type = 'SOP'""")),
            ("different  index Resource.Resource_type_idx: expected CREATE INDEX",),
            True,
            index("Resource_type_idx", '"Resource" (type)'),
        ),
        State(
            "index that is unique",
            (
                *all_of_it,
                *index("DiscordActivity_discordId_idx", '"DiscordActivity" ("discordId")', unique=True),
            ),
            ("different  index DiscordActivity.DiscordActivity_discordId_idx: expected CREATE INDEX",),
            True,
            index("DiscordActivity_discordId_idx", '"DiscordActivity" ("discordId")'),
        ),
        State(
            "missing and extra columns",
            (*upto(1), 'ALTER TABLE "Resource" DROP "isFeatured", ADD notes text NOT NULL DEFAULT $$$$'),
            (
                "missing    column Resource.isFeatured: expected boolean",
                "extra      column Resource.notes: found text",
            ),
            True,
            ('ALTER TABLE "Resource" DROP notes, ADD "isFeatured" boolean NOT NULL DEFAULT false',),
        ),
        State(
            "no primary key",
            (*upto(1), 'ALTER TABLE "Resource" DROP CONSTRAINT "Resource_pkey"'),
            ("missing    constraint Resource.Resource_pkey: expected PRIMARY KEY (id)",),
            True,
            ('ALTER TABLE "Resource" ADD CONSTRAINT "Resource_pkey" PRIMARY KEY (id)',),
        ),
        State(
            "trigger before UPDATE too",
            (
                *all_of_it,
                f'CREATE OR REPLACE TRIGGER {TRIGGER} AFTER INSERT OR UPDATE ON "PointTransaction" '
                f"FOR EACH ROW EXECUTE FUNCTION {FUNCTION}()",
            ),
            (f"different  trigger PointTransaction.{TRIGGER}: expected CREATE TRIGGER",),
            True,
            (
                f'CREATE OR REPLACE TRIGGER {TRIGGER} AFTER INSERT ON "PointTransaction" '
                f"FOR EACH ROW EXECUTE FUNCTION {FUNCTION}()",
            ),
        ),
        State(
            "the function serves another table",
            (
                *all_of_it,
                'CREATE TABLE other ("memberId" text, points integer)',
                f"CREATE TRIGGER other AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION {FUNCTION}()",
            ),
            (f"different  function {FUNCTION}()",),
            True,
            ("DROP TABLE other",),
        ),
        State(
            "a table of the plan alone",
            (*upto(1), 'DROP TABLE "AuditLog"'),
            ("missing    table AuditLog: expected table",),
            True,
        ),
    ]


def key_not_valid() -> str:
    return (
        'ALTER TABLE "ResourceDownload" ADD CONSTRAINT "ResourceDownload_memberId_fkey" FOREIGN KEY ("memberId") '
        'REFERENCES "Member" (id) ON UPDATE CASCADE ON DELETE CASCADE NOT VALID'
    )
