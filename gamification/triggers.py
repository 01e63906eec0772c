"""What the database does by itself when the ledger is written to."""

import pgtrigger

from council.postgres.triggers import Trigger

# The members are locked in the order of their ids, so that two bulk writers wait for each other and never
# deadlock; NO KEY, so that rows which only refer to a member do not wait.
# A session whose zone is not UTC fills createdAt's default with its own clock: such a row counts as now.
# plpgsql keeps the plan that it makes for the first call: with a hash or merge join, right for a bulk insert,
# every later single insert of that session would scan all members.
UPDATE_MEMBER_POINTS = Trigger(
    name="trg_update_member_points",
    function="update_member_total_points",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    referencing=pgtrigger.Referencing(new="new_rows"),
    settings={"enable_hashjoin": "off", "enable_mergejoin": "off"},
    func="""
        BEGIN
          PERFORM 1
             FROM @extschema@."Member" AS member
            WHERE member.id IN (SELECT new_rows."memberId" FROM new_rows)
            ORDER BY member.id
              FOR NO KEY UPDATE;

          UPDATE @extschema@."Member" AS member
             SET "totalPoints" = member."totalPoints" + added.points,
                 "lastActiveAt" = greatest(member."lastActiveAt", added.last_active_at)
            FROM (SELECT "memberId",
                         sum(points) AS points,
                         max(CASE "createdAt"
                               WHEN CURRENT_TIMESTAMP::timestamp(3) THEN CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
                               ELSE "createdAt"
                             END) FILTER (WHERE points > 0 AND action <> 'admin_adjustment') AS last_active_at
                    FROM new_rows
                   GROUP BY "memberId") AS added
           WHERE member.id = added."memberId";
          RETURN NULL;
        END
    """,
)

# A row goes only with its member, whose row is gone by the time the cascade arrives here; a row changes only
# when its member got another id.
APPEND_ONLY = Trigger(
    name="trg_point_transaction_append_only",
    function="refuse_point_transaction_change",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    func="""
        BEGIN
          IF NOT EXISTS (SELECT FROM @extschema@."Member" AS member WHERE member.id = OLD."memberId") THEN
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
