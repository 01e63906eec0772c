"""What the database can be asked about points. Migrations freeze these texts: a change is a new migration."""

# Who is active by then goes on with a streak: Saturdays and Sundays may be missed.
NEXT_WEEKDAY = """\
RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN day + CASE extract(isodow FROM day) WHEN 5 THEN 3 WHEN 6 THEN 2 ELSE 1 END"""

# What `Member` has to hold, by all of the members' ledger rows. Who has none is left out.
POINTS_BY_LEDGER = """\
RETURNS TABLE (member_id text, total_points bigint, points_month date, month_points bigint,
               last_active_at timestamp(3), streak bigint)
LANGUAGE sql STABLE SET search_path TO '' AS $function$
WITH entries AS (
    SELECT "memberId" AS member_id,
           date_trunc('month', "createdAt")::date AS month,
           points,
           CASE WHEN points > 0 AND action <> 'admin_adjustment' AND "reversesId" IS NULL
                THEN "createdAt" END AS active_at
      FROM @extschema@."PointTransaction"
     WHERE "memberId" = ANY (member_ids)
), months AS (
    SELECT member_id, month, sum(points) AS points, max(active_at) AS last_active_at
      FROM entries
     GROUP BY member_id, month
), active_days AS (
    SELECT DISTINCT member_id, active_at::date AS day
      FROM entries
     WHERE active_at IS NOT NULL
), preceded AS (
    SELECT member_id, day, lag(day) OVER (PARTITION BY member_id ORDER BY day) AS before
      FROM active_days
), begun AS (
    SELECT member_id, max(day) AS day
      FROM preceded
     WHERE before IS NULL OR day > @extschema@.next_weekday(before)
     GROUP BY member_id
), streaks AS (
    SELECT active_days.member_id, count(*) AS days
      FROM active_days
      JOIN begun ON begun.member_id = active_days.member_id AND begun.day <= active_days.day
     GROUP BY active_days.member_id
)
SELECT months.member_id,
       sum(months.points)::bigint,
       max(months.month),
       ((array_agg(months.points ORDER BY months.month DESC))[1])::bigint,
       max(months.last_active_at),
       coalesce(max(streaks.days), 0)
  FROM months
  LEFT JOIN streaks ON streaks.member_id = months.member_id
 GROUP BY months.member_id
$function$"""
