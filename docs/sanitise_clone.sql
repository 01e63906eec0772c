-- Removes from a clone of production all data that identifies people, lets anybody sign in, or is a company's secret.
--
--     psql --set ON_ERROR_STOP=1 --dbname clone --file docs/sanitise_clone.sql
--
-- Works for version 1 of the schema and all later ones. Run it as the role that owns the tables. Ids, times, statuses and
-- points stay, so the clone still holds people's data: do not pass it on, and delete it when you are done.
-- tests/council/test_clone.py checks that this file covers every column.

BEGIN;

DO $$
BEGIN
  IF current_database() NOT LIKE '%clone%' THEN
    RAISE EXCEPTION 'This destroys data, and the database % is not named a clone.', current_database()
      USING HINT = 'Restore into a database whose name contains the word clone.';
  END IF;
END
$$;

-- NULL stays NULL, and what is unique stays unique.
UPDATE "Member"
   SET "discordId" = CASE WHEN "discordId" IS NOT NULL THEN 'discord-' || id END,
       "discordUsername" = CASE WHEN "discordUsername" IS NOT NULL THEN 'discord-' || id END,
       "discordAvatar" = NULL,
       "stripeCustomerId" = CASE WHEN "stripeCustomerId" IS NOT NULL THEN 'cus-' || id END,
       email = CASE WHEN email IS NOT NULL THEN id || '@clone.invalid' END,
       "firstName" = CASE WHEN "firstName" IS NOT NULL THEN 'First' END,
       "lastName" = CASE WHEN "lastName" IS NOT NULL THEN 'Last' END,
       company = CASE WHEN company IS NOT NULL THEN 'Company' END,
       "jobTitle" = CASE WHEN "jobTitle" IS NOT NULL THEN 'Job' END,
       "linkedInUrl" = NULL,
       "referralSource" = NULL,
       "introMessageId" = NULL,
       "passwordHash" = NULL;

UPDATE "Team"
   SET name = 'Team ' || id,
       "stripeCustomerId" = 'cus-' || id,
       "stripeSubscriptionId" = CASE WHEN "stripeSubscriptionId" IS NOT NULL THEN 'sub-' || id END;

UPDATE "Admin"
   SET email = id || '@clone.invalid',
       "passwordHash" = '',
       "createdBy" = NULL;

UPDATE "PendingInvite"
   SET token = 'token-' || id,
       "inviteeEmail" = CASE WHEN "inviteeEmail" IS NOT NULL THEN id || '@clone.invalid' END,
       "acceptedBy" = NULL,
       "createdBy" = '';

UPDATE "StripeEvent" SET "eventId" = 'evt-' || id, payload = NULL;
UPDATE "AuditLog" SET details = NULL, "performedBy" = NULL;
UPDATE "ReconciliationRun" SET issues = '[]', "triggeredBy" = '';
UPDATE "FeatureFlag" SET "updatedBy" = NULL;
UPDATE "EmailTemplate" SET "updatedBy" = NULL;

-- Version 2. The ledger's triggers refuse changes by anybody, so they are switched off meanwhile.
DO $$
BEGIN
  IF to_regclass('"PointTransaction"') IS NOT NULL THEN
    ALTER TABLE "PointTransaction" DISABLE TRIGGER USER;
    UPDATE "PointTransaction" SET metadata = NULL WHERE metadata IS NOT NULL;
    ALTER TABLE "PointTransaction" ENABLE TRIGGER USER;
    UPDATE "DiscordActivity" SET "discordId" = 'discord-' || "memberId";
    UPDATE "PointRule" SET "updatedBy" = NULL;
    UPDATE "BenchmarkSubmission" SET data = '{}';
    UPDATE council_account SET password = '!', username = 'account-' || id;
    DELETE FROM django_admin_log;
    DELETE FROM django_session;
    DELETE FROM council_signinfailures;
  END IF;
END
$$;

-- The history's triggers refuse changes, too. It records the change of the answers above, so it is emptied after them.
DO $$
BEGIN
  IF to_regclass('"BenchmarkVersion"') IS NOT NULL THEN
    ALTER TABLE "BenchmarkVersion" DISABLE TRIGGER trg_benchmark_version_append_only;
    ALTER TABLE "BenchmarkReview" DISABLE TRIGGER trg_benchmark_review_append_only;
    UPDATE "BenchmarkVersion" SET data = '{}', "companyKey" = 'member:' || "memberId";
    UPDATE "BenchmarkReview" SET reason = '', "reviewedBy" = NULL;
    ALTER TABLE "BenchmarkVersion" ENABLE TRIGGER trg_benchmark_version_append_only;
    ALTER TABLE "BenchmarkReview" ENABLE TRIGGER trg_benchmark_review_append_only;
  END IF;
END
$$;

-- Later tables, one by one, because an older clone lacks some of them.
DO $$
DECLARE
  statement text;
  found text;
BEGIN
  FOR found, statement IN VALUES
    ('"DiscordStanding"', $s$UPDATE "DiscordStanding" SET "discordId" = 'discord-' || "memberId"$s$),
    ('"FigureTable"', 'DELETE FROM "FigureTable"'),
    ('"JobRun"', $s$UPDATE "JobRun" SET error = NULL, notes = '[]', host = ''$s$),
    ('"ResourceVersion"', $s$UPDATE "ResourceVersion" SET "uploadedBy" = ''$s$),
    ('"ResourceVersion"', 'UPDATE "Resource" SET "uploadedBy" = NULL'),
    ('"ResourceSearchMiss"', 'DELETE FROM "ResourceSearchMiss"'),
    ('council_accountsession', 'DELETE FROM council_accountsession'),
    ('otp_static_statictoken', 'DELETE FROM otp_static_statictoken'),
    ('otp_static_staticdevice', 'DELETE FROM otp_static_staticdevice'),
    ('otp_totp_totpdevice', 'DELETE FROM otp_totp_totpdevice')
  LOOP
    IF to_regclass(found) IS NOT NULL THEN
      EXECUTE statement;
    END IF;
  END LOOP;
END
$$;

COMMIT;

-- VACUUM keeps old rows that another session may still see: one in this database that began earlier, such as an
-- autovacuum, or an open transaction in any database of the server. Wait until there is none.
DO $$
DECLARE
  mine xid8 := pg_current_xact_id();
  told boolean := false;
BEGIN
  WHILE pg_snapshot_xmin(pg_current_snapshot()) < mine
     OR EXISTS (SELECT FROM pg_stat_activity
                 WHERE datname = current_database() AND pid <> pg_backend_pid()
                   AND age(backend_xmin) > age(mine::xid)) LOOP
    IF NOT told THEN
      RAISE NOTICE 'Waiting for transactions that began earlier and may still see the old data. They are listed in '
        'pg_stat_activity (backend_xid, backend_xmin) and pg_prepared_xacts of this server.';
      told := true;
    END IF;
    PERFORM pg_sleep(0.1);
    PERFORM pg_stat_clear_snapshot();
  END LOOP;
END
$$;

-- The old data stays in the files until these are rewritten. For the server's own tables this only gives warnings, which
-- are not shown.
SET client_min_messages TO error;
VACUUM (FULL, ANALYZE);
