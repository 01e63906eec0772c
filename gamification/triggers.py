"""What the database does by itself when the ledger is written to."""

import pgtrigger

from council.postgres.triggers import Trigger

# The members are updated, and so locked, in the order of their ids: two bulk writers wait for each other and never
# deadlock. One UPDATE for all would choose its own order.
# A session whose zone is not UTC fills createdAt's default with its own clock: such a row counts as now.
# plpgsql keeps a plan for as long as the session lives. One made while Member was tiny would go on scanning it
# whole when it is large: hence no sequential scans.
UPDATE_MEMBER_POINTS = Trigger(
    name="trg_update_member_points",
    function="update_member_total_points",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    referencing=pgtrigger.Referencing(new="new_rows"),
    settings={"enable_seqscan": "off"},
    func="""
        DECLARE
          added record;
        BEGIN
          FOR added IN
            SELECT "memberId" AS member_id,
                   sum(points) AS points,
                   max(CASE "createdAt"
                         WHEN CURRENT_TIMESTAMP::timestamp(3) THEN CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
                         ELSE "createdAt"
                       END) FILTER (WHERE points > 0 AND action <> 'admin_adjustment') AS last_active_at
              FROM new_rows
             GROUP BY "memberId"
             ORDER BY "memberId"
          LOOP
            UPDATE @extschema@."Member" AS member
               SET "totalPoints" = member."totalPoints" + added.points,
                   "lastActiveAt" = greatest(member."lastActiveAt", added.last_active_at)
             WHERE member.id = added.member_id;
          END LOOP;
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
