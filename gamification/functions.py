"""SQL functions about points. Migrations freeze these texts, so a change needs a new migration."""

from council.postgres.functions import Function

# A streak continues if the member is active by this day. Saturdays and Sundays may be missed.
NEXT_WEEKDAY = Function(
    name="next_weekday",
    arguments="day date",
    definition="""\
RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path TO ''
RETURN day + CASE extract(isodow FROM day) WHEN 5 THEN 3 WHEN 6 THEN 2 ELSE 1 END""",
)

# Computes from the ledger the figures that `Member` must hold. Members without rows are left out. The ids are joined,
# not compared with = ANY: once a bitmap is too large for work_mem, PostgreSQL would compare every row of a page with
# all of them, which takes minutes. There are no other joins, because PostgreSQL could not estimate their size.
# A row that was dated in the future has no day, so it counts only in the total.
POINTS_BY_LEDGER = Function(
    name="points_by_ledger",
    arguments="member_ids text[]",
    definition="""\
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
$function$""",
)

# Builds the key of an action that is paid once, like ledger.Award.key. NULL if the row does not say what it is for.
POINT_TRANSACTION_KEY = Function(
    name="point_transaction_key",
    arguments="action text, member_id text, metadata jsonb",
    definition="""\
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path TO ''
RETURN substring(
    CASE action
    WHEN 'intro_completed' THEN action || ':' || member_id
    WHEN 'benchmark_submission' THEN action || ':' || member_id || ':' || nullif(metadata ->> 'category', '')
    WHEN 'resource_download' THEN action || ':' || member_id || ':' || nullif(metadata ->> 'resourceId', '')
    END FROM '^.{1,200}$')""",
)

# In order of creation: a function may call those before it.
ALL = [NEXT_WEEKDAY, POINTS_BY_LEDGER, POINT_TRANSACTION_KEY]
