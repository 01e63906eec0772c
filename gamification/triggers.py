"""What the database does by itself when the ledger is written to."""

import pgtrigger

from council.postgres.triggers import Trigger

# The members are updated, and so locked, in the order of their ids: two bulk writers wait for each other and never
# deadlock. One UPDATE for all would choose its own order.
# A day before the newest one may fill a gap, so the streak is then counted from the ledger: in a statement of its
# own, which sees what others have committed before the member was locked. It may also see rows that this trigger
# is yet to be called for, where a function adds rows in the middle of another INSERT: so the newest day is taken over
# with the streak, lest they count again.
# plpgsql keeps a plan for as long as the session lives, so it has to be right for one row and for a million. One made
# while Member was tiny would go on scanning it whole when it is large: hence no sequential scans. One made for a
# million rows would be compiled anew for each single one, for milliseconds: hence no JIT. Grouped by the member alone,
# the rows are sorted once, for the window, the sums and the loop; by anything more, they would be grouped in a hash
# table, made as large for one row as for the many that it was planned for.
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
          added record;
          fills_gap boolean;
        BEGIN
          FOR added IN
            SELECT member_id,
                   date_trunc('month', max(newest))::date AS month,
                   sum(points) AS points,
                   sum(points) FILTER (WHERE created_at >= date_trunc('month', newest)) AS month_points,
                   min(active_at)::date AS first_day,
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
                     CASE WHEN added.first_day IS NULL OR added.first_day <= member."lastActiveAt"::date
                          THEN member."currentStreak"
                          WHEN added.first_day <= @extschema@.next_weekday(member."lastActiveAt"::date)
                          THEN member."currentStreak" + 1
                          ELSE 1 END,
                   "updatedAt" = CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
             WHERE member.id = added.member_id
            RETURNING added.first_day < member."lastActiveAt"::date INTO fills_gap;
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

# createdAt's default is the session's clock, which is not UTC's where the session's zone is another.
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

# What enters the ledger can be shown, and changes no figure of a day that is yet to come. It looks at the rows as they
# were written, so no trigger that comes before can get something past it. The clock is that of the moment: a writer may
# give a row its own time in a transaction that began long before. Metadata of few bytes are neither long nor deep.
LIMITS = Trigger(
    name="trg_point_transaction_limits",
    function="check_point_transaction_limits",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    referencing=pgtrigger.Referencing(new="new_rows"),
    func="""
        DECLARE
          refused record;
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
                              WHEN pg_column_size(metadata) > 100 AND octet_length(metadata::text) > 16384
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

# The gateway pays without keys. A row of its own gets the key of what it pays for, where it is the first of it: so
# Django does not pay that again. The members are locked by then, as this trigger's name comes after the other's, so two
# rows without keys never ask for the same one. Whoever pays with a key has it before the member is locked: where
# one is at it at the same moment, the row stays without, and the gateway neither waits for long nor fails; should that
# one roll back, the job give_keys gives it. All rows of a statement at once, and one by one only where a key is taken.
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
          ids text[];
          keys text[];
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

# A row goes only with its member, whose row is gone by the time the cascade arrives here; a row changes only when its
# member got another id. Both come from the foreign key's own trigger, never from a statement of somebody's: one that
# removes the member and changes the rows in the same breath finds the member gone as well.
# A row also changes when it gets the key of what it pays for, and when it is marked as dated in the future.
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

# The depth alone does not tell the cascade from a trigger of somebody's own. So rows that changed their member are
# looked at once more: nothing else in them has changed, they are all that the member has, and the member's figures are
# theirs. That is so where a member got another id, and not where rows were moved to another member.
# Where rows were marked as dated in the future, the figures of their members are counted anew, without these dates: in
# a statement of its own, after the members were locked, as UPDATE_MEMBER_POINTS does.
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

# Whoever says that a member has introduced themselves, the member is paid by the rule, once. A total at its limit
# must not keep the gateway from saying so.
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
            SELECT 'c' || left(replace(gen_random_uuid()::text, '-', ''), 24),
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
