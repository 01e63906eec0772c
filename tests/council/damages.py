"""Damages to a database: the SQL, the check that must find it, its finding, and whether its cure is SQL.

At the end are harmless changes, which no check may report.
"""

from typing import NamedTuple


class Damage(NamedTuple):
    """If `is_curable`, its check finds nothing after the cure was run as SQL."""

    sql: str
    check: str
    words: str
    is_curable: bool = True


TRIGGER_FUNCTION = "CREATE FUNCTION {} RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
# Members and ledger rows. A superuser can then make their columns wrong.
LEDGER = """
    INSERT INTO "Member" (id, "updatedAt") VALUES ('m1', now());
    INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
    VALUES ('p1', 'm1', 'intro_completed', 25, '2026-11-20 10:00');
"""
# A resource with one download. A superuser can switch triggers off and make its count wrong.
LIBRARY = """
    INSERT INTO "Member" (id, "updatedAt") VALUES ('m1', now());
    INSERT INTO "Resource" (id, title, description, category, type, "fileUrl", "updatedAt")
    VALUES ('r1', 'Title', 'Words', 'OPERATIONS', 'SOP', 'https://files.example.com/', now());
    INSERT INTO "ResourceDownload" (id, "memberId", "resourceId") VALUES ('d1', 'm1', 'r1');
"""
BENCHMARKS = """
    INSERT INTO "Member" (id, "updatedAt") VALUES ('m1', now());
    INSERT INTO "BenchmarkSubmission" (id, "memberId", category, data, "updatedAt") VALUES
      ('b1', 'm1', 'BUSINESS', '{"gross_margin_percent": 40}', now()),
      ('b2', 'm1', 'OPERATIONAL', '{"domains_per_client": 3}', now());
"""
DATA_API = """
    DO $$ DECLARE name text; BEGIN
      FOREACH name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN EXECUTE 'CREATE ROLE ' || name; END IF;
      END LOOP;
      FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^(auth|council|django|otp)_' LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);  -- as migrate does where there are such roles
      END LOOP;
    END $$;
    GRANT USAGE ON SCHEMA public TO anon, authenticated;
"""
SAME_NAMES = 'CREATE SCHEMA other; CREATE TABLE other."Member" (id text); '

DAMAGES: dict[str, Damage] = {
    # the record of migrations
    "a migration that is not applied": Damage(
        "DELETE FROM django_migrations WHERE app = 'gamification' AND name = '0013_fill_month_and_streak'",
        "migrations",
        "not applied: gamification.0013_fill_month_and_streak",
        is_curable=False,
    ),
    "a migration that this code does not have": Damage(
        "INSERT INTO django_migrations (app, name, applied) VALUES ('resources', '0099_later', now())",
        "migrations",
        "resources.0099_later is applied, but not in this code: the database is newer than the code",
        is_curable=False,
    ),
    "a gap in the record": Damage(
        "DELETE FROM django_migrations WHERE app = 'gamification' AND name = '0002_fks_not_valid'",
        "migrations",
        "is applied before its dependency gamification.0002_fks_not_valid",
        is_curable=False,
    ),
    # tables
    "a table of version 2 is gone": Damage(
        'DROP TABLE "DiscordActivity"',
        "tables",
        "DiscordActivity is missing: expected table",
        is_curable=False,
    ),
    "a table of the gateway's is gone": Damage(
        'DROP TABLE "AuditLog"', "tables", "AuditLog is missing: expected table", is_curable=False
    ),
    "a table of Django's is gone": Damage(
        "DROP TABLE django_session", "tables", "django_session is missing: expected table", is_curable=False
    ),
    "an unlogged table": Damage(
        'ALTER TABLE "DiscordActivity" SET UNLOGGED',
        "tables",
        "DiscordActivity is table, unlogged, expected table",
    ),
    "a view in a table's place": Damage(
        'ALTER TABLE "StripeEvent" RENAME TO events; CREATE VIEW "StripeEvent" AS TABLE events',
        "tables",
        "StripeEvent is view, expected table",
        is_curable=False,
    ),
    "no table at all": Damage(
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public", "tables", "none of the ", is_curable=False
    ),
    # columns
    "a column of Member's is gone": Damage(
        'ALTER TABLE "Member" DROP COLUMN "leaderboardVisible"',
        "columns",
        "Member.leaderboardVisible is missing: expected boolean NOT NULL DEFAULT true",
    ),
    "a column of another type": Damage(
        'ALTER TABLE "PointTransaction" ALTER "idempotencyKey" TYPE text',
        "columns",
        "PointTransaction.idempotencyKey is text, expected character varying(200)",
    ),
    "a moment with a time zone": Damage(
        'ALTER TABLE "Team" ALTER "createdAt" TYPE timestamptz(3)',
        "columns",
        "Team.createdAt is timestamp(3) with time zone NOT NULL DEFAULT CURRENT_TIMESTAMP, expected timestamp(3) "
        "without time zone NOT NULL DEFAULT CURRENT_TIMESTAMP",
    ),
    "an enum column that has become text": Damage(
        'ALTER TABLE "Resource" ALTER category TYPE text',
        "columns",
        'Resource.category is text NOT NULL, expected "ResourceCategory" NOT NULL',
    ),
    "a default that is gone": Damage(
        'ALTER TABLE "Member" ALTER "totalPoints" DROP DEFAULT',
        "columns",
        "Member.totalPoints is integer NOT NULL, expected integer NOT NULL DEFAULT 0",
    ),
    "another default": Damage(
        'ALTER TABLE "Member" ALTER "leaderboardVisible" SET DEFAULT false',
        "columns",
        "Member.leaderboardVisible is boolean NOT NULL DEFAULT false, expected boolean NOT NULL DEFAULT true",
    ),
    "a column that has to be filled in": Damage(
        'ALTER TABLE "Member" ALTER email SET NOT NULL',
        "columns",
        "Member.email is text NOT NULL, expected text",
    ),
    "a column that may be empty": Damage(
        'ALTER TABLE "PointTransaction" ALTER points DROP NOT NULL',
        "columns",
        "PointTransaction.points is integer, expected integer NOT NULL",
    ),
    "another collation": Damage(
        """ALTER TABLE "Team" ALTER name TYPE text COLLATE "C" """,
        "columns",
        'Team.name is text COLLATE "C" NOT NULL, expected text NOT NULL',
        is_curable=False,
    ),
    "a new column that the gateway does not fill in": Damage(
        'ALTER TABLE "AuditLog" ADD "ipAddress" text NOT NULL',
        "columns",
        "AuditLog.ipAddress is not expected: text NOT NULL",
    ),
    "a new column that may be empty": Damage(
        'ALTER TABLE "Team" ADD notes text', "columns", "Team.notes is not expected: text"
    ),
    # enums
    "an enum label that is gone": Damage(
        """ALTER TYPE "ResourceType" RENAME TO old;
        CREATE TYPE "ResourceType" AS ENUM ('TEMPLATE', 'SOP', 'COURSE', 'VIDEO');
        ALTER TABLE "Resource" ALTER type TYPE "ResourceType" USING type::text::"ResourceType"; DROP TYPE old""",
        "enums",
        "ResourceType is 'TEMPLATE', 'SOP', 'COURSE', 'VIDEO', expected 'TEMPLATE', 'SOP', 'PLAYBOOK', ",
    ),
    "enum labels in another order": Damage(
        """ALTER TYPE "AdminRole" RENAME VALUE 'ADMIN' TO 'X'; ALTER TYPE "AdminRole" RENAME VALUE 'SUPER_ADMIN'
        TO 'ADMIN'; ALTER TYPE "AdminRole" RENAME VALUE 'X' TO 'SUPER_ADMIN'""",
        "enums",
        "AdminRole is 'SUPER_ADMIN', 'ADMIN', expected 'ADMIN', 'SUPER_ADMIN'",
    ),
    "an enum label too many": Damage(
        """ALTER TYPE "SubscriptionStatus" ADD VALUE 'PAUSED'""",
        "enums",
        "'CANCELLED', 'PAUSED', expected",
        is_curable=False,  # only after a commit
    ),
    # constraints
    "a foreign key that is gone": Damage(
        'ALTER TABLE "PointTransaction" DROP CONSTRAINT "PointTransaction_memberId_fkey"',
        "constraints",
        "PointTransaction.PointTransaction_memberId_fkey is missing: expected FOREIGN KEY",
    ),
    "a foreign key without its cascade": Damage(
        'ALTER TABLE "ResourceDownload" DROP CONSTRAINT "ResourceDownload_memberId_fkey", ADD CONSTRAINT '
        '"ResourceDownload_memberId_fkey" FOREIGN KEY ("memberId") REFERENCES "Member" (id)',
        "constraints",
        'is FOREIGN KEY ("memberId") REFERENCES "Member"(id), expected FOREIGN KEY ("memberId") REFERENCES '
        '"Member"(id) ON UPDATE CASCADE ON DELETE CASCADE',
    ),
    "a deferrable foreign key": Damage(
        'ALTER TABLE "Member" ALTER CONSTRAINT "Member_teamId_fkey" DEFERRABLE',
        "constraints",
        "ON UPDATE CASCADE ON DELETE SET NULL DEFERRABLE, expected",
    ),
    "a foreign key whose triggers are off": Damage(
        'ALTER TABLE "BenchmarkSubmission" DISABLE TRIGGER ALL',
        "constraints",
        "key state BenchmarkSubmission.BenchmarkSubmission_memberId_fkey is triggers disabled, expected enforced",
    ),
    "a check that is gone": Damage(
        'ALTER TABLE "PointRule" DROP CONSTRAINT "PointRule_points_check"',
        "constraints",
        "PointRule.PointRule_points_check is missing: expected CHECK ((points >= 0))",
    ),
    "another check": Damage(
        'ALTER TABLE "PointRule" DROP CONSTRAINT "PointRule_points_check", '
        'ADD CONSTRAINT "PointRule_points_check" CHECK (points > 0)',
        "constraints",
        "PointRule.PointRule_points_check is CHECK ((points > 0)), expected CHECK ((points >= 0))",
    ),
    "a check that nobody expects": Damage(
        """ALTER TABLE "Member" ADD CONSTRAINT named CHECK ("firstName" <> '')""",
        "constraints",
        """Member.named is not expected: CHECK (("firstName" <> ''::text))""",
    ),
    "a primary key that is gone": Damage(
        'ALTER TABLE "AuditLog" DROP CONSTRAINT "AuditLog_pkey"',
        "constraints",
        "AuditLog.AuditLog_pkey is missing: expected PRIMARY KEY (id)",
    ),
    # indexes
    "the GIN index is gone": Damage(
        'DROP INDEX "BenchmarkSubmission_data_idx"',
        "indexes",
        "BenchmarkSubmission.BenchmarkSubmission_data_idx is missing: expected CREATE INDEX",
    ),
    "another method": Damage(
        'DROP INDEX "BenchmarkSubmission_data_idx"; '
        'CREATE INDEX "BenchmarkSubmission_data_idx" ON "BenchmarkSubmission" (data)',
        "indexes",
        'USING btree (data), expected CREATE INDEX "BenchmarkSubmission_data_idx" ON "BenchmarkSubmission" USING gin',
    ),
    "a unique index that is no longer unique": Damage(
        'DROP INDEX "PointTransaction_idempotencyKey_key"; CREATE INDEX "PointTransaction_idempotencyKey_key" ON '
        '"PointTransaction" ("idempotencyKey") WHERE "idempotencyKey" IS NOT NULL',
        "indexes",
        'is CREATE INDEX "PointTransaction_idempotencyKey_key"',
    ),
    "a partial index that has become whole": Damage(
        'DROP INDEX "PointTransaction_reversesId_key"; '
        'CREATE UNIQUE INDEX "PointTransaction_reversesId_key" ON "PointTransaction" ("reversesId")',
        "indexes",
        'USING btree ("reversesId"), expected',
    ),
    "a unique index that nobody expects": Damage(
        'CREATE UNIQUE INDEX one_company ON "Member" (company)',
        "indexes",
        "Member.one_company is not expected: CREATE UNIQUE INDEX",
    ),
    "an index that nobody expects": Damage(
        'CREATE INDEX by_company ON "Member" (company)',
        "indexes",
        "Member.by_company is not expected: CREATE INDEX",
    ),
    # triggers and rules
    "the points trigger is gone": Damage(
        'DROP TRIGGER trg_update_member_points ON "PointTransaction"',
        "triggers",
        "PointTransaction.trg_update_member_points is missing: expected CREATE TRIGGER",
    ),
    "the points trigger is off": Damage(
        'ALTER TABLE "PointTransaction" DISABLE TRIGGER trg_update_member_points',
        "triggers",
        "PointTransaction.trg_update_member_points is disabled, expected enabled",
    ),
    "a trigger for replicas only": Damage(
        'ALTER TABLE "PointTransaction" ENABLE REPLICA TRIGGER trg_point_transaction_append_only',
        "triggers",
        "PointTransaction.trg_point_transaction_append_only is enabled on replicas only, expected enabled",
    ),
    "a trigger of another level": Damage(
        'DROP TRIGGER trg_update_member_points ON "PointTransaction"; CREATE TRIGGER trg_update_member_points AFTER '
        'INSERT ON "PointTransaction" FOR EACH ROW EXECUTE FUNCTION update_member_total_points()',
        "triggers",
        "FOR EACH ROW EXECUTE FUNCTION update_member_total_points(), expected",
    ),
    "a trigger of fewer events": Damage(
        "CREATE OR REPLACE TRIGGER trg_point_transaction_append_only BEFORE UPDATE ON "
        '"PointTransaction" FOR EACH ROW EXECUTE FUNCTION refuse_point_transaction_change()',
        "triggers",
        "is CREATE TRIGGER trg_point_transaction_append_only BEFORE UPDATE ON",
    ),
    "a trigger without its condition": Damage(
        'CREATE OR REPLACE TRIGGER trg_point_transaction_in_utc BEFORE INSERT ON "PointTransaction" FOR EACH ROW '
        "EXECUTE FUNCTION put_point_transaction_in_utc()",
        "triggers",
        'BEFORE INSERT ON "PointTransaction" FOR EACH ROW EXECUTE FUNCTION put_point_transaction_in_utc(), expected',
    ),
    "a trigger that calls another function": Damage(
        TRIGGER_FUNCTION.format("f()")
        + "CREATE OR REPLACE TRIGGER trg_point_transaction_reversal AFTER INSERT ON "
        '"PointTransaction" FOR EACH ROW WHEN (NEW."reversesId" IS NOT NULL) EXECUTE FUNCTION f()',
        "triggers",
        'FOR EACH ROW WHEN ((new."reversesId" IS NOT NULL)) EXECUTE FUNCTION f(), expected',
    ),
    "a trigger that nobody expects": Damage(
        TRIGGER_FUNCTION.format("f()")
        + 'CREATE TRIGGER webhook AFTER INSERT ON "Member" FOR EACH ROW EXECUTE FUNCTION f()',
        "triggers",
        "Member.webhook is not expected: CREATE TRIGGER webhook AFTER INSERT ON",
    ),
    "a rule": Damage(
        'CREATE RULE quiet AS ON DELETE TO "AuditLog" DO INSTEAD NOTHING',
        "triggers",
        "rule AuditLog.quiet is not expected: CREATE RULE quiet",
    ),
    # functions
    "a function with another body": Damage(
        """CREATE OR REPLACE FUNCTION update_member_total_points() RETURNS trigger LANGUAGE plpgsql
        SET search_path TO '' SET enable_seqscan TO off AS 'BEGIN RETURN NULL; END'""",
        "functions",
        "update_member_total_points() differs in line ",
    ),
    "a function of SQL with another body": Damage(
        "CREATE OR REPLACE FUNCTION next_weekday(day date) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE "
        "RETURN day + 1",
        "functions",
        "next_weekday(day date) differs in line 5: found 'RETURN (day + 1)', expected \"SET search_path TO ''\"",
    ),
    "a function without its search_path": Damage(
        "ALTER FUNCTION update_member_total_points() RESET search_path",
        "functions",
        "update_member_total_points() differs in line ",
    ),
    "a function that is SECURITY DEFINER": Damage(
        "ALTER FUNCTION refuse_point_transaction_change() SECURITY DEFINER",
        "functions",
        "refuse_point_transaction_change() differs in line 4: found 'SECURITY DEFINER'",
    ),
    "a function that is gone": Damage(
        "DROP FUNCTION points_by_ledger(text[])",
        "functions",
        "points_by_ledger(member_ids text[]) is missing: expected CREATE OR REPLACE FUNCTION",
    ),
    "a function of the same name": Damage(
        "CREATE FUNCTION next_weekday(day timestamp) RETURNS date LANGUAGE sql RETURN day::date",
        "functions",
        "next_weekday(day timestamp without time zone) is not expected: CREATE OR REPLACE FUNCTION",
    ),
    "a function without the comment that migrations know it by": Damage(
        "COMMENT ON FUNCTION next_weekday(date) IS NULL",
        "functions",
        "comment function next_weekday(day date) is missing: expected council ",
    ),
    # row level security
    "row level security that is off": Damage(
        'ALTER TABLE "PointTransaction" DISABLE ROW LEVEL SECURITY',
        "row level security",
        "PointTransaction is off, expected on",
    ),
    "row level security that is off for a table of Django's": Damage(
        DATA_API + "ALTER TABLE django_session DISABLE ROW LEVEL SECURITY",
        "row level security",
        "django_session is off, expected on",
    ),
    "row level security that shuts the owner out": Damage(
        'ALTER TABLE "Member" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY',
        "row level security",
        "Member is forced, expected off",
    ),
    # sequences
    "an identity column that is none": Damage(
        "ALTER TABLE council_account_groups ALTER id DROP IDENTITY",
        "sequences",
        "council_account_groups.id is missing: expected BY DEFAULT bigint START 1",
    ),
    "another identity": Damage(
        'ALTER TABLE "LeaderboardCheckpoint" ALTER id SET GENERATED ALWAYS',
        "sequences",
        "LeaderboardCheckpoint.id is ALWAYS bigint START 1",
    ),
    "a sequence behind its column": Damage(
        "INSERT INTO auth_group (id, name) VALUES (1000000, 'restored')",
        "sequences",
        "auth_group.id goes up to 1000000, but its sequence is only at ",
    ),
    # leftovers
    "an invalid index": Damage(
        """UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"Member_teamId_idx"'::regclass""",
        "invalid indexes",
        'Member_teamId_idx of "Member" is INVALID: it slows down every write, and serves no query',
    ),
    "an index that is not ready": Damage(
        """UPDATE pg_index SET indisready = false WHERE indexrelid = '"Team_stripeCustomerId_key"'::regclass""",
        "invalid indexes",
        'Team_stripeCustomerId_key of "Team" is INVALID',
    ),
    "an invalid primary key": Damage(
        """UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"Member_pkey"'::regclass""",
        "invalid indexes",
        'Member_pkey of "Member" is INVALID',
    ),
    "what an interrupted REINDEX leaves": Damage(
        'CREATE INDEX "Member_teamId_idx_ccnew" ON "Member" ("teamId"); UPDATE pg_index SET indisvalid = false '
        """WHERE indexrelid = '"Member_teamId_idx_ccnew"'::regclass""",
        "invalid indexes",
        'Member_teamId_idx_ccnew of "Member" is INVALID',
    ),
    "what an interrupted REINDEX leaves at its end": Damage(
        'CREATE INDEX "Team_pkey_ccold1" ON "Team" (id); UPDATE pg_index SET indisvalid = false, indislive = false '
        """WHERE indexrelid = '"Team_pkey_ccold1"'::regclass""",
        "invalid indexes",
        'Team_pkey_ccold1 of "Team" is INVALID',
    ),
    "an invalid index of somebody else's": Damage(
        "CREATE TABLE theirs (id int); CREATE INDEX theirs_idx ON theirs (id); "
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'theirs_idx'::regclass",
        "invalid indexes",
        'theirs_idx of "theirs" is INVALID',
    ),
    "a foreign key that was never validated": Damage(
        'ALTER TABLE "DiscordActivity" DROP CONSTRAINT "DiscordActivity_memberId_fkey", ADD CONSTRAINT '
        '"DiscordActivity_memberId_fkey" FOREIGN KEY ("memberId") REFERENCES "Member" (id) ON UPDATE CASCADE '
        "ON DELETE CASCADE NOT VALID",
        "unvalidated constraints",
        'DiscordActivity_memberId_fkey of "DiscordActivity" is NOT VALID: older rows may violate it',
    ),
    # the session
    "a database in another time zone": Damage(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO ''Europe/London''', current_database()); END $$",
        "time zone",
        "sessions begin in Europe/London (DATABASE ",
    ),
    "a role in another time zone": Damage(
        "CREATE ROLE council_gateway; ALTER ROLE council_gateway SET timezone TO 'America/New_York'",
        "time zone",
        "sessions begin in America/New_York (ROLE council_gateway), expected UTC",
    ),
    "all roles in another time zone": Damage(
        "ALTER ROLE ALL SET timezone TO 'Asia/Kolkata'",
        "time zone",
        "sessions begin in Asia/Kolkata (ROLE ALL), expected UTC",
    ),
    "a search_path to somewhere else": Damage(
        "CREATE SCHEMA other; SET LOCAL search_path TO other",
        "search_path",
        'other: its first schema is other, but the tables are in "public"',
        is_curable=False,  # the next session has it
    ),
    "tables of the same names": Damage(
        SAME_NAMES + "SET LOCAL search_path TO public, other",
        "search_path",
        "the schema is public; other has tables of the same names",
        is_curable=False,
    ),
    "a statement timeout": Damage(
        "DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE %I SET statement_timeout TO ''3s''', session_user, "
        "current_database()); END $$",
        "time limits",
        "statement_timeout is 3.0 s (ROLE ",
    ),
    "a lock timeout": Damage(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lock_timeout TO 50', current_database()); END $$",
        "time limits",
        "lock_timeout is 50 ms (DATABASE ",
    ),
    "a role without a right": Damage(
        'CREATE ROLE council_reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO council_reader; ALTER TABLE "Team" '
        "OWNER TO council_reader; SET LOCAL ROLE council_reader",
        "rights",
        "council_reader has no right to INSERT, UPDATE, DELETE on Member",
        is_curable=False,  # by its owner
    ),
    "a role that rows are hidden from": Damage(
        "CREATE ROLE council_reader; GRANT ALL ON ALL TABLES IN SCHEMA public TO council_reader; "
        "SET LOCAL ROLE council_reader",
        "rights",
        "row level security hides the rows of PointTransaction from council_reader, which is not its owner",
        is_curable=False,
    ),
    "a function that the role may not run": Damage(
        "CREATE ROLE council_reader; REVOKE EXECUTE ON FUNCTION points_by_ledger(text[]) FROM PUBLIC; "
        "SET LOCAL ROLE council_reader",
        "rights",
        "council_reader may not run public.points_by_ledger(member_ids text[]), which triggers call",
        is_curable=False,
    ),
    # the data API
    "a table of ours that is open": Damage(
        DATA_API
        + 'GRANT SELECT ON "PointTransaction" TO anon; ALTER TABLE "PointTransaction" DISABLE ROW LEVEL SECURITY',
        "data API: tables",
        "PointTransaction is open to anon: SELECT",
    ),
    "a column of ours that is open": Damage(
        DATA_API + 'GRANT UPDATE (points) ON "PointRule" TO authenticated; '
        'ALTER TABLE "PointRule" DISABLE ROW LEVEL SECURITY',
        "data API: tables",
        "PointRule is open to authenticated: UPDATE",
    ),
    "the gateway's tables are open": Damage(
        DATA_API + "GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated",
        "data API: tables",
        "among the gateway's tables, Admin is open to anon, authenticated (DELETE, INSERT, SELECT, UPDATE); AuditLog",
    ),
    "a table of ours that is open to everybody": Damage(
        DATA_API
        + "GRANT ALL ON auth_permission TO PUBLIC; ALTER TABLE auth_permission DISABLE ROW LEVEL SECURITY",
        "data API: tables",
        "auth_permission is open to anon, authenticated: DELETE, INSERT, SELECT, UPDATE",
    ),
    "a role of the data API that row level security does not hold": Damage(
        DATA_API + "ALTER ROLE authenticated BYPASSRLS; GRANT SELECT ON council_account TO authenticated",
        "data API: tables",
        "council_account is open to authenticated: SELECT",
    ),
    "a policy on a table of ours": Damage(
        DATA_API + """CREATE POLICY mine ON "Resource" FOR SELECT TO authenticated USING ("isFeatured")""",
        "data API: policies",
        "'mine' opens Resource to authenticated: SELECT where",
    ),
    "a policy for everybody on a table of the gateway's": Damage(
        DATA_API + 'CREATE POLICY "read all" ON "Member" FOR SELECT USING (true)',
        "data API: policies",
        "'read all' opens Member to anon, authenticated: SELECT where true",
    ),
    "a view past row level security": Damage(
        DATA_API + 'CREATE VIEW ranks AS SELECT "memberId", sum(points) FROM "PointTransaction" GROUP BY 1; '
        "GRANT SELECT ON ranks TO anon",
        "data API: views",
        "ranks shows PointTransaction to anon with its owner's rights",
    ),
    "a materialized view": Damage(
        DATA_API
        + 'CREATE MATERIALIZED VIEW emails AS SELECT email FROM "Member"; GRANT SELECT ON emails TO authenticated',
        "data API: views",
        "emails shows Member to authenticated with its owner's rights",
    ),
    "a function of ours with its owner's rights": Damage(
        DATA_API + "ALTER FUNCTION points_by_ledger(text[]) SECURITY DEFINER",
        "data API: functions",
        "public.points_by_ledger(member_ids text[]) runs for anon, authenticated with its owner's rights",
    ),
    "another function with its owner's rights": Damage(
        DATA_API
        + """CREATE FUNCTION hashes() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER
        AS 'SELECT "passwordHash" FROM "Member"' """,
        "data API: functions",
        "public.hashes() runs for anon, authenticated with its owner's rights",
    ),
    # the ledger
    # the library
    "a download count that is not the number of rows": Damage(
        LIBRARY
        + """SET LOCAL session_replication_role = replica; UPDATE "Resource" SET "downloadCount" = 7;
        SET LOCAL session_replication_role = origin""",
        "download counts",
        "resource r1: downloadCount 7 → 1",
    ),
    "a file that is not in the storage": Damage(
        LIBRARY
        + """INSERT INTO "ResourceVersion" (id, "resourceId", number, "storagePath", "fileName", "fileSize", "mimeType",
                                            sha256)
        VALUES ('v1', 'r1', 1, 'files/gone.pdf', 'gone.pdf', 1, 'application/pdf', '0')""",
        "library files",
        "files/gone.pdf is missing: version 1 of resource r1",
        is_curable=False,
    ),
    "a total that is not the ledger's": Damage(
        LEDGER + """UPDATE "Member" SET "totalPoints" = 99 WHERE id = 'm1'""",
        "ledger figures",
        "member m1: total_points 99 → 25",
        is_curable=False,
    ),
    "a month's figure": Damage(
        LEDGER + """UPDATE "Member" SET "monthPoints" = 26 WHERE id = 'm1'""",
        "ledger figures",
        "member m1: month_points 26 → 25",
        is_curable=False,
    ),
    "a streak": Damage(
        LEDGER + """UPDATE "Member" SET "currentStreak" = 3 WHERE id = 'm1'""",
        "ledger figures",
        "member m1: current_streak 3 → 1",
        is_curable=False,
    ),
    "a last activity": Damage(
        LEDGER + """UPDATE "Member" SET "lastActiveAt" = NULL WHERE id = 'm1'""",
        "ledger figures",
        "member m1: last_active_at None → 2026-11-20 10:00:00+00:00",
        is_curable=False,
    ),
    "rows that were written past the trigger": Damage(
        LEDGER
        + """SET LOCAL session_replication_role TO replica;
        INSERT INTO "PointTransaction" (id, "memberId", action, points) VALUES ('p2', 'm1', 'intro_completed', 5);
        SET LOCAL session_replication_role TO origin""",
        "ledger figures",
        "member m1: total_points 25 → 30",
        is_curable=False,
    ),
    "a row that is dated in the future": Damage(
        LEDGER
        + """SET LOCAL session_replication_role TO replica;
        INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
        VALUES ('p2', 'm1', 'intro_completed', 5, '55840-01-01');
        SET LOCAL session_replication_role TO origin""",
        "ledger figures",
        "member m1: row p2 is dated in the future, 55840-01-01 00:00:00",
        is_curable=False,
    ),
    "answers that were written past the trigger": Damage(
        BENCHMARKS
        + """SET LOCAL session_replication_role TO replica;
        UPDATE "BenchmarkSubmission" SET data = '{"gross_margin_percent": 41}' WHERE category = 'BUSINESS';
        SET LOCAL session_replication_role TO origin""",
        "benchmark history",
        "BUSINESS: members whose answers differ from the newest version: 1",
    ),
    "answers that came past the trigger": Damage(
        """SET LOCAL session_replication_role TO replica;"""
        + BENCHMARKS
        + "SET LOCAL session_replication_role TO origin",
        "benchmark history",
        "OPERATIONAL: members whose answers differ from the newest version: 1",
    ),
    "answers that went past the trigger": Damage(
        BENCHMARKS
        + """SET LOCAL session_replication_role TO replica;
        DELETE FROM "BenchmarkSubmission" WHERE category = 'OPERATIONAL';
        SET LOCAL session_replication_role TO origin""",
        "benchmark history",
        "OPERATIONAL: members whose answers differ from the newest version: 1",
    ),
    # what is tried
    "a session in which no trigger fires": Damage(
        "SET LOCAL session_replication_role TO replica",
        "points trigger, tried",
        "7, 5 and -2 points gave the total, month, activity and streak (0, None, 0, None, 0), expected",
        is_curable=False,
    ),
    "a trigger that adds too much": Damage(
        TRIGGER_FUNCTION.format("g()").replace(
            "RETURN NEW", """UPDATE "Member" SET "totalPoints" = "totalPoints" + 1; RETURN NEW"""
        )
        + 'CREATE TRIGGER bonus AFTER INSERT ON "PointTransaction" FOR EACH ROW EXECUTE FUNCTION g()',
        "points trigger, tried",
        "7, 5 and -2 points gave the total, month, activity and streak (13, ",
        is_curable=False,
    ),
    "a ledger that can be changed": Damage(
        'ALTER TABLE "PointTransaction" DISABLE TRIGGER trg_point_transaction_append_only',
        "points trigger, tried",
        "the deletion of a row was accepted, expected a refusal",
        is_curable=False,
    ),
    "a ledger that forgets": Damage(
        TRIGGER_FUNCTION.format("h()").replace("RETURN NEW", "RETURN OLD")
        + "CREATE OR REPLACE TRIGGER trg_point_transaction_append_only BEFORE DELETE ON "
        '"PointTransaction" FOR EACH ROW EXECUTE FUNCTION h()',
        "points trigger, tried",
        "the deletion of a row was accepted, expected a refusal",
        is_curable=False,
    ),
    "a reversal that nobody compares": Damage(
        'ALTER TABLE "PointTransaction" DISABLE TRIGGER trg_point_transaction_reversal',
        "points trigger, tried",
        "a reversal with other points was accepted, expected a refusal",
        is_curable=False,
    ),
    "rows in the session's time": Damage(
        'ALTER TABLE "PointTransaction" DISABLE TRIGGER trg_point_transaction_in_utc',
        "points trigger, tried",
        "no row could be added: The points ledger takes no such row",
        is_curable=False,
    ),
    "a key that pays twice": Damage(
        'DROP INDEX "PointTransaction_idempotencyKey_key"',
        "points trigger, tried",
        "a second row with the same key was added, expected none",
        is_curable=False,
    ),
    "rows that outlive their member": Damage(
        'ALTER TABLE "PointTransaction" DROP CONSTRAINT "PointTransaction_memberId_fkey"',
        "points trigger, tried",
        "the rows of a deleted member are still there, expected none",
        is_curable=False,
    ),
    "a child table of the ledger": Damage(
        'CREATE TABLE child () INHERITS ("PointTransaction")',
        "ways past the points triggers",
        'public.child inherits from public."PointTransaction": its rows are read as rows of PointTransaction',
    ),
    "triggers that are off from the start": Damage(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET session_replication_role TO replica', "
        "current_database()); END $$",
        "ways past the points triggers",
        "sessions begin with triggers off: DATABASE ",
    ),
    "a column that no row can be added without": Damage(
        'ALTER TABLE "Member" ADD "taxNumber" text NOT NULL',
        "points trigger, tried",
        'null value in column "taxNumber" of relation "Member" violates not-null constraint',
        is_curable=False,
    ),
}


HARMLESS = {
    "the data API with row level security on": DATA_API
    + 'GRANT ALL ON "PointTransaction", "Resource", council_account TO anon, authenticated',
    "a key of the data API's that may do everything": DATA_API
    + "ALTER ROLE service_role BYPASSRLS; GRANT ALL ON ALL TABLES IN SCHEMA public TO service_role",
    "a policy that lets nobody in": DATA_API
    + 'CREATE POLICY none ON "Resource" AS RESTRICTIVE TO anon USING (false)',
    "a policy for some rows of the gateway's": DATA_API
    + """ALTER TABLE "Member" ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON "Member" FOR SELECT TO authenticated USING (email = current_user)""",
    "a view with its reader's rights": DATA_API
    + 'CREATE VIEW mine WITH (security_invoker = true) AS TABLE "Member"; GRANT SELECT ON mine TO authenticated',
    "a view that the data API may not read": DATA_API + 'CREATE VIEW ours AS TABLE "Member"',
    "a trigger's function with its owner's rights": DATA_API
    + TRIGGER_FUNCTION.format("f()")
    + "ALTER FUNCTION f() SECURITY DEFINER",
    "tables, enums and functions of somebody else's": """CREATE TABLE _prisma_migrations (id text NOT NULL);
    CREATE TYPE mood AS ENUM ('good'); CREATE FUNCTION theirs() RETURNS int LANGUAGE sql RETURN 1""",
    "a schema of somebody else's": SAME_NAMES,
    "comments and statistics": """COMMENT ON TABLE "Member" IS 'people'; COMMENT ON COLUMN "Team".name IS 'in full';
    ALTER TABLE "Member" ALTER email SET STATISTICS 500""",
    "row level security of the gateway's own": 'ALTER TABLE "Admin" ENABLE ROW LEVEL SECURITY',
    "UTC by another name": "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO ''Etc/UTC''', "
    "current_database()); END $$",
    "patient time limits": """DO $$ BEGIN
      EXECUTE format('ALTER DATABASE %I SET statement_timeout TO ''2min''', current_database());
      EXECUTE format('ALTER DATABASE %I SET lock_timeout TO 0', current_database());
    END $$""",
    "a time limit of the data API's": DATA_API + "ALTER ROLE anon SET statement_timeout TO '3s'",
}
