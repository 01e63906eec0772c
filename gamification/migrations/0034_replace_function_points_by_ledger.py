"""Write the types in points_by_ledger with their schema: a session's temporary types came first.

Locks: none.
Safe with the code before it: yes.
Way back: puts back what was there before.
"""

from django.db import migrations

from council import zero_downtime

POINTS_BY_LEDGER = """\
RETURNS TABLE (member_id text, total_points bigint, points_month date, month_points bigint,
               last_active_at timestamp(3), streak bigint)
LANGUAGE sql STABLE SET search_path TO '' AS $function$
WITH days AS (
    SELECT "memberId" AS member_id,
           CASE WHEN NOT "isMisdated" THEN "createdAt"::pg_catalog.date END AS day,
           sum(points) AS points,
           max("createdAt") FILTER (WHERE points > 0 AND action <> 'admin_adjustment' AND "reversesId" IS NULL
                                      AND NOT "isMisdated") AS active_at
      FROM (SELECT DISTINCT unnest(member_ids) AS id) AS members
      JOIN @extschema@."PointTransaction" ON "memberId" = members.id
     GROUP BY member_id, day
), preceded AS (
    SELECT member_id, day, points, active_at,
           date_trunc('month', max(day) OVER (PARTITION BY member_id))::pg_catalog.date AS newest_month,
           max(active_at) OVER (PARTITION BY member_id ORDER BY day
                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)::pg_catalog.date AS active_before
      FROM days
), streaks AS (
    SELECT member_id, day, points, active_at, newest_month,
           max(day) FILTER (WHERE active_at IS NOT NULL
                              AND (active_before IS NULL OR day > @extschema@.next_weekday(active_before)))
             OVER (PARTITION BY member_id) AS begun
      FROM preceded
)
SELECT member_id,
       sum(points)::bigint,
       newest_month,
       coalesce(sum(points) FILTER (WHERE day >= newest_month), 0)::bigint,
       max(active_at),
       count(active_at) FILTER (WHERE day >= begun)
  FROM streaks
 GROUP BY member_id, newest_month
$function$"""

POINTS_BY_LEDGER_FORMER = """\
RETURNS TABLE (member_id text, total_points bigint, points_month date, month_points bigint,
               last_active_at timestamp(3), streak bigint)
LANGUAGE sql STABLE SET search_path TO '' AS $function$
WITH days AS (
    SELECT "memberId" AS member_id,
           CASE WHEN NOT "isMisdated" THEN "createdAt"::date END AS day,
           sum(points) AS points,
           max("createdAt") FILTER (WHERE points > 0 AND action <> 'admin_adjustment' AND "reversesId" IS NULL
                                      AND NOT "isMisdated") AS active_at
      FROM (SELECT DISTINCT unnest(member_ids) AS id) AS members
      JOIN @extschema@."PointTransaction" ON "memberId" = members.id
     GROUP BY member_id, day
), preceded AS (
    SELECT member_id, day, points, active_at,
           date_trunc('month', max(day) OVER (PARTITION BY member_id))::date AS newest_month,
           max(active_at) OVER (PARTITION BY member_id ORDER BY day
                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)::date AS active_before
      FROM days
), streaks AS (
    SELECT member_id, day, points, active_at, newest_month,
           max(day) FILTER (WHERE active_at IS NOT NULL
                              AND (active_before IS NULL OR day > @extschema@.next_weekday(active_before)))
             OVER (PARTITION BY member_id) AS begun
      FROM preceded
)
SELECT member_id,
       sum(points)::bigint,
       newest_month,
       coalesce(sum(points) FILTER (WHERE day >= newest_month), 0)::bigint,
       max(active_at),
       count(active_at) FILTER (WHERE day >= begun)
  FROM streaks
 GROUP BY member_id, newest_month
$function$"""


class Migration(migrations.Migration):
    dependencies = [("council", "0015_figure_table"), ("gamification", "0033_submission_rule_description")]
    operations = [
        zero_downtime.ReplaceFunction(
            name="points_by_ledger",
            arguments="member_ids text[]",
            definition=POINTS_BY_LEDGER,
            former=POINTS_BY_LEDGER_FORMER,
        ),
    ]
