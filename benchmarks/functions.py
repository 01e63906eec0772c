"""SQL functions about stored answers. Migrations freeze these texts, so a change needs a new migration."""

from council.postgres.functions import Function

# Returns the part of a submission's JSON that makes sense: an object of numbers and texts. Numbers that were stored as
# texts become numbers, as with STORED_NUMBER in benchmarks/definitions.py. Numbers too large to be an answer, lists,
# objects, true, false and null are left out. So the history never contains deep nesting, megabytes, or 1e400.
BENCHMARK_ANSWERS = Function(
    name="benchmark_answers",
    arguments="data jsonb",
    definition="""\
RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path TO '' AS $function$
SELECT coalesce(jsonb_object_agg(key, answer), '{}')
  FROM (SELECT key,
               CASE WHEN jsonb_typeof(value) = 'string' AND btrim(text, E' \\n\\t') ~ '^-?[0-9]{1,15}([.][0-9]{1,10})?$'
                    THEN to_jsonb(trim_scale(round(btrim(text, E' \\n\\t')::numeric, 6)))
                    WHEN jsonb_typeof(value) = 'string' AND btrim(text) <> '' THEN to_jsonb(left(text, 500))
                    WHEN jsonb_typeof(value) = 'number' AND abs(text::numeric) < 1e15
                    THEN to_jsonb(trim_scale(round(text::numeric, 6)))
               END AS answer
          FROM jsonb_each(CASE WHEN jsonb_typeof(data) = 'object' THEN data ELSE '{}' END),
               LATERAL (SELECT CASE WHEN jsonb_typeof(value) IN ('string', 'number') THEN value #>> '{}' END AS text)
               AS written
         WHERE key ~ '^[a-z][a-z0-9_]{0,62}$'
         LIMIT 200) AS readable
 WHERE answer IS NOT NULL
$function$""",
)

ALL = [BENCHMARK_ANSWERS]
