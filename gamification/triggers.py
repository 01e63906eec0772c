"""The triggers of the points ledger. They keep its rules, and the figures in `Member`."""

import pgtrigger

from council.postgres.triggers import Trigger

# Members are updated, and so locked, in the order of their ids: two bulk writers wait for each other and never
# deadlock. One UPDATE for all would choose its own order.
# A row older than the newest day may fill a gap. The streak is then recounted from the ledger, in a separate statement
# that sees everything committed before the member was locked. It may also see rows for which this trigger has not run
# yet, if a function adds rows in the middle of another INSERT. So the newest day is updated together with the streak;
# otherwise these rows would count twice.
# plpgsql keeps a plan for the whole session, so the plan must suit one row and a million rows. A plan made while Member
# was tiny would still scan the whole table when it is large: hence no sequential scans. A plan made for a million rows
# would be compiled again for each single row, for milliseconds: hence no JIT. Grouping only by the member sorts the
# rows once, for the window, the sums and the loop. Grouping by more would make a large hash table, even for one row.
UPDATE_MEMBER_POINTS = Trigger(
    name="trg_update_member_points",
    function="update_member_total_points",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    referencing=pgtrigger.Referencing(new="new_rows"),
    settings={"enable_seqscan": "off", "jit": "off"},
    func="""
        DECLARE
          added pg_catalog.record;
          fills_gap boolean;
        BEGIN
          FOR added IN
            SELECT member_id,
                   date_trunc('month', max(newest))::pg_catalog.date AS month,
                   sum(points) AS points,
                   sum(points) FILTER (WHERE created_at >= date_trunc('month', newest)) AS month_points,
                   min(active_at)::pg_catalog.date AS first_day,
                   max(active_at) AS last_active_at
              FROM (SELECT "memberId" AS member_id,
                           "createdAt" AS created_at,
                           max("createdAt") OVER (PARTITION BY "memberId") AS newest,
                           points,
                           CASE WHEN points > 0 AND action <> 'admin_adjustment' AND "reversesId" IS NULL
                                THEN "createdAt" END AS active_at
                      FROM new_rows) AS entries
             GROUP BY member_id
             ORDER BY member_id
          LOOP
            UPDATE @extschema@."Member" AS member
               SET "totalPoints" = member."totalPoints" + added.points,
                   "pointsMonth" = greatest(member."pointsMonth", added.month),
                   "monthPoints" = CASE WHEN added.month < member."pointsMonth" THEN member."monthPoints"
                                        WHEN added.month = member."pointsMonth"
                                        THEN member."monthPoints" + added.month_points
                                        ELSE added.month_points END,
                   "lastActiveAt" = greatest(member."lastActiveAt", added.last_active_at),
                   "currentStreak" =
                     CASE WHEN added.first_day IS NULL OR added.first_day <= member."lastActiveAt"::pg_catalog.date
                          THEN member."currentStreak"
                          WHEN added.first_day <= @extschema@.next_weekday(member."lastActiveAt"::pg_catalog.date)
                          THEN member."currentStreak" + 1
                          ELSE 1 END,
                   "updatedAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
             WHERE member.id = added.member_id
            RETURNING added.first_day < member."lastActiveAt"::pg_catalog.date INTO fills_gap;
            IF NOT FOUND THEN
              RAISE EXCEPTION 'The points of member % cannot be added up: the row is not to be changed by %.',
                added.member_id, current_user
                USING ERRCODE = 'insufficient_privilege',
                      HINT = 'Row level security or a trigger on "Member" is in the way.';
            END IF;
            IF fills_gap THEN
              UPDATE @extschema@."Member" AS member
                 SET "currentStreak" = ledger.streak,
                     "lastActiveAt" = ledger.last_active_at
                FROM @extschema@.points_by_ledger(ARRAY[added.member_id]) AS ledger
               WHERE member.id = added.member_id;
            END IF;
          END LOOP;
          RETURN NULL;
        END
    """,
)

# The default of createdAt is the session's local time, which is not UTC if the session has another time zone.
IN_UTC = Trigger(
    name="trg_point_transaction_in_utc",
    function="put_point_transaction_in_utc",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    condition=pgtrigger.Condition(
        """NEW."createdAt" = LOCALTIMESTAMP::timestamp(3) AND LOCALTIMESTAMP <> CURRENT_TIMESTAMP AT TIME ZONE 'UTC'"""
    ),
    func="""
        BEGIN
          NEW."createdAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC';
          RETURN NEW;
        END
    """,
)

REVERSAL = Trigger(
    name="trg_point_transaction_reversal",
    function="check_point_transaction_reversal",
    level=pgtrigger.Row,
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    condition=pgtrigger.Condition('NEW."reversesId" IS NOT NULL'),
    func="""
        BEGIN
          IF NOT EXISTS (
            SELECT FROM @extschema@."PointTransaction" AS reversed
             WHERE reversed.id = NEW."reversesId"
               AND reversed."memberId" = NEW."memberId"
               AND reversed.points::bigint + NEW.points = 0
               AND reversed."reversesId" IS NULL
          ) THEN
            RAISE EXCEPTION 'Row % cannot reverse row %.', NEW.id, NEW."reversesId"
              USING ERRCODE = 'restrict_violation',
                    HINT = 'A reversal has the same member and the opposite points, and is not reversed itself.';
          END IF;
          RETURN NULL;
        END
    """,
)

# Refuses rows that pages could not show, and rows dated in the future. It runs after the insert, so that no earlier
# trigger can get anything past it. It uses clock_timestamp(), because the transaction may have begun long before a
# writer dates a row. Metadata of up to 100 bytes are not looked at, as they are neither long nor deep.
LIMITS = Trigger(
    name="trg_point_transaction_limits",
    function="check_point_transaction_limits",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    referencing=pgtrigger.Referencing(new="new_rows"),
    func="""
        DECLARE
          refused pg_catalog.record;
        BEGIN
          SELECT id, fault INTO refused
            FROM (SELECT id,
                         CASE WHEN "createdAt" > clock_timestamp() AT TIME ZONE 'UTC' + interval '10 minutes'
                              THEN 'is dated in the future, ' || "createdAt"
                              WHEN "createdAt" < timestamp '0001-01-01'
                              THEN 'is dated before the year 1, ' || "createdAt"
                              WHEN "isMisdated" THEN 'is marked as one that was dated in the future'
                              WHEN length(id) > 200 THEN 'has an id of more than 200 characters'
                              WHEN length(action) > 200 THEN 'has an action of more than 200 characters'
                              WHEN pg_column_size(metadata) > 100 AND octet_length(metadata::pg_catalog.text) > 16384
                              THEN 'has metadata of more than 16,384 bytes'
                              WHEN pg_column_size(metadata) > 100 AND jsonb_path_exists(metadata, '$.**{17}')
                              THEN 'has metadata of more than 16 levels' END AS fault
                    FROM new_rows) AS rows
           WHERE fault IS NOT NULL
           LIMIT 1;
          IF FOUND THEN
            RAISE EXCEPTION 'The points ledger takes no such row: row % %.', left(refused.id, 60), refused.fault
              USING ERRCODE = 'check_violation',
                    HINT = 'Give it a date in UTC that is not in the future, and less metadata.';
          END IF;
          RETURN NULL;
        END
    """,
)

# The gateway pays without keys. The first of its rows that pays for a thing gets the key here, so that Django does not
# pay again. By then the members are locked, as this trigger's name sorts after that of UPDATE_MEMBER_POINTS, so two
# rows without keys never ask for the same key. A transaction that pays with a key inserts it before the member is
# locked. While it is open, the gateway's row gets no key, so that the gateway neither waits for long nor fails. If it
# rolls back, the job give_keys adds the key. Rows are updated together, and one by one only if a key is taken.
KEYS = Trigger(
    name="trg_update_point_transaction_keys",
    function="update_point_transaction_keys",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    referencing=pgtrigger.Referencing(new="new_rows"),
    settings={"enable_seqscan": "off", "jit": "off", "lock_timeout": "50ms"},
    func="""
        DECLARE
          ids pg_catalog.text[];
          keys pg_catalog.text[];
        BEGIN
          SELECT array_agg(id ORDER BY key), array_agg(key ORDER BY key) INTO ids, keys
            FROM (SELECT DISTINCT ON (key) id, key
                    FROM (SELECT id,
                                 "createdAt" AS created_at,
                                 @extschema@.point_transaction_key(action, "memberId", metadata) AS key
                            FROM new_rows
                           WHERE "idempotencyKey" IS NULL
                             AND "reversesId" IS NULL
                             AND points > 0
                             AND action IN ('intro_completed', 'benchmark_submission', 'resource_download')) AS entries
                   WHERE key IS NOT NULL
                     AND NOT EXISTS (SELECT FROM @extschema@."PointTransaction" AS other
                                      WHERE other."idempotencyKey" = entries.key)
                   ORDER BY key, created_at, id) AS paid;
          IF ids IS NULL THEN
            RETURN NULL;
          END IF;
          BEGIN
            UPDATE @extschema@."PointTransaction" AS entry
               SET "idempotencyKey" = paid.key
              FROM unnest(ids, keys) AS paid (id, key)
             WHERE entry.id = paid.id;
            RETURN NULL;
          EXCEPTION WHEN unique_violation OR lock_not_available THEN
            IF cardinality(ids) = 1 THEN
              RETURN NULL;
            END IF;
          END;
          FOR place IN 1 .. cardinality(ids) LOOP
            BEGIN
              UPDATE @extschema@."PointTransaction" AS entry
                 SET "idempotencyKey" = keys[place]
               WHERE entry.id = ids[place];
            EXCEPTION WHEN unique_violation OR lock_not_available THEN
              NULL;
            END;
          END LOOP;
          RETURN NULL;
        END
    """,
)

# A row is deleted only with its member, and gets another memberId only when its member gets another id. In both cases
# the foreign key's trigger does it, and the member's old row is already gone. That the member is gone is not enough: a
# statement that deletes a member and changes the rows at once also finds the member gone. Hence pg_trigger_depth().
# A row may also get the key of what it pays for, and may be marked as dated in the future.
APPEND_ONLY = Trigger(
    name="trg_point_transaction_append_only",
    function="refuse_point_transaction_change",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    func="""
        BEGIN
          IF TG_OP = 'UPDATE' THEN
            IF OLD."idempotencyKey" IS NULL
               AND NEW."idempotencyKey" = @extschema@.point_transaction_key(OLD.action, OLD."memberId", OLD.metadata)
               AND to_jsonb(NEW) - 'idempotencyKey' = to_jsonb(OLD) - 'idempotencyKey' THEN
              RETURN NEW;
            ELSIF NEW."isMisdated" AND NOT OLD."isMisdated"
               AND OLD."createdAt" > clock_timestamp() AT TIME ZONE 'UTC' + interval '10 minutes'
               AND to_jsonb(NEW) - 'isMisdated' = to_jsonb(OLD) - 'isMisdated' THEN
              RETURN NEW;
            END IF;
          END IF;
          IF pg_trigger_depth() > 1
             AND NOT EXISTS (SELECT FROM @extschema@."Member" AS member WHERE member.id = OLD."memberId") THEN
            IF TG_OP = 'DELETE' THEN
              RETURN OLD;
            ELSIF to_jsonb(NEW) - 'memberId' = to_jsonb(OLD) - 'memberId' THEN
              RETURN NEW;
            END IF;
          END IF;
          RAISE EXCEPTION 'The points ledger is append-only: % of row % refused.', TG_OP, OLD.id
            USING ERRCODE = 'restrict_violation',
                  HINT = 'Add a row that reverses it.';
        END
    """,
)

# The depth does not distinguish the cascade from any other trigger. So rows with a new memberId are checked again:
# nothing else in them has changed, they are all of the member's rows, and the member's figures match them. This is
# true if a member got another id, and false if rows were moved to another member.
# If rows were marked as dated in the future, their members' figures are recounted without these dates: in a separate
# statement after the members were locked, as in UPDATE_MEMBER_POINTS.
WITH_ITS_MEMBER = Trigger(
    name="trg_point_transaction_with_its_member",
    function="check_point_transaction_member_change",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Update,
    referencing=pgtrigger.Referencing(old="old_rows", new="new_rows"),
    func="""
        BEGIN
          -- A key or a mark alone. They are looked at again: another trigger may have changed them on their way.
          IF NOT EXISTS (
            SELECT FROM new_rows
              FULL JOIN old_rows USING (id)
             WHERE to_jsonb(new_rows) - ARRAY['idempotencyKey', 'isMisdated']
                   IS DISTINCT FROM to_jsonb(old_rows) - ARRAY['idempotencyKey', 'isMisdated']
                OR (new_rows."idempotencyKey" IS DISTINCT FROM old_rows."idempotencyKey"
                    AND (old_rows."idempotencyKey" IS NOT NULL
                         OR new_rows."idempotencyKey" IS DISTINCT FROM @extschema@.point_transaction_key(
                              new_rows.action, new_rows."memberId", new_rows.metadata)))
                OR (new_rows."isMisdated" <> old_rows."isMisdated"
                    AND (old_rows."isMisdated"
                         OR new_rows."createdAt" <= CURRENT_TIMESTAMP AT TIME ZONE 'UTC' + interval '10 minutes'))
          ) THEN
            IF EXISTS (
              SELECT FROM new_rows
                JOIN old_rows USING (id)
               WHERE new_rows."isMisdated" <> old_rows."isMisdated"
            ) THEN
              PERFORM FROM @extschema@."Member" AS member
                WHERE member.id IN (SELECT "memberId" FROM new_rows)
                ORDER BY member.id
                  FOR NO KEY UPDATE;
              UPDATE @extschema@."Member" AS member
                 SET "totalPoints" = ledger.total_points,
                     "pointsMonth" = ledger.points_month,
                     "monthPoints" = ledger.month_points,
                     "lastActiveAt" = ledger.last_active_at,
                     "currentStreak" = ledger.streak,
                     "updatedAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
                FROM @extschema@.points_by_ledger(ARRAY(SELECT "memberId" FROM new_rows)) AS ledger
               WHERE member.id = ledger.member_id;
            END IF;
            RETURN NULL;
          END IF;
          IF EXISTS (
            SELECT FROM new_rows
              FULL JOIN old_rows USING (id)
             WHERE to_jsonb(new_rows) - 'memberId' IS DISTINCT FROM to_jsonb(old_rows) - 'memberId'
          ) OR EXISTS (
            SELECT FROM @extschema@."PointTransaction" AS entry
             WHERE entry."memberId" IN (SELECT "memberId" FROM new_rows)
               AND entry.id NOT IN (SELECT id FROM new_rows)
          ) OR EXISTS (
            SELECT FROM (SELECT DISTINCT "memberId" AS id FROM new_rows) AS moved
              LEFT JOIN @extschema@."Member" AS member ON member.id = moved.id
              LEFT JOIN @extschema@.points_by_ledger(ARRAY(SELECT "memberId" FROM new_rows)) AS ledger
                     ON ledger.member_id = moved.id
             WHERE (member."totalPoints", member."pointsMonth", member."monthPoints",
                    member."lastActiveAt", member."currentStreak")
                   IS DISTINCT FROM
                   (ledger.total_points, ledger.points_month, ledger.month_points,
                    ledger.last_active_at, ledger.streak)
          ) THEN
            RAISE EXCEPTION 'The points ledger is append-only: rows of a member were to become those of another.'
              USING ERRCODE = 'restrict_violation',
                    HINT = 'A member may get another id. Are the figures right? See manage.py reconcile_points.';
          END IF;
          RETURN NULL;
        END
    """,
)

NO_TRUNCATE = Trigger(
    name="trg_point_transaction_no_truncate",
    function="refuse_point_transaction_truncate",
    level=pgtrigger.Statement,
    when=pgtrigger.Before,
    operation=pgtrigger.Truncate,
    func="""
        BEGIN
          RAISE EXCEPTION 'The points ledger is append-only: TRUNCATE refused.'
            USING ERRCODE = 'restrict_violation',
                  HINT = 'To empty a throw-away database, drop it.';
        END
    """,
)

# Pays the member once, by the rule, no matter who sets introCompleted. A total at its limit must not stop the gateway
# from setting it.
PAY_INTRODUCTION = Trigger(
    name="trg_member_introduction",
    function="pay_member_introduction",
    level=pgtrigger.Row,
    when=pgtrigger.After,
    operation=pgtrigger.Insert | pgtrigger.UpdateOf("introCompleted"),
    condition=pgtrigger.Condition('NEW."introCompleted"'),
    func="""
        BEGIN
          IF TG_OP = 'UPDATE' THEN
            IF OLD."introCompleted" THEN
              RETURN NULL;
            END IF;
          END IF;
          BEGIN
            INSERT INTO @extschema@."PointTransaction" (id, "memberId", action, points, "idempotencyKey")
            SELECT 'c' || left(replace(gen_random_uuid()::pg_catalog.text, '-', ''), 24),
                   NEW.id,
                   rule.action,
                   rule.points,
                   'intro_completed:' || NEW.id
              FROM @extschema@."PointRule" AS rule
             WHERE rule.action = 'intro_completed'
               AND rule.enabled
               AND rule.points > 0
               AND NOT EXISTS (
                     SELECT
                       FROM @extschema@."PointTransaction" AS paid
                      WHERE paid."memberId" = NEW.id
                        AND paid.action = 'intro_completed'
                   )
                ON CONFLICT ("idempotencyKey") WHERE "idempotencyKey" IS NOT NULL DO NOTHING;
          EXCEPTION WHEN numeric_value_out_of_range THEN
            RAISE WARNING 'The introduction of member % was not paid: the total would leave its range.', NEW.id;
          END;
          RETURN NULL;
        END
    """,
)
