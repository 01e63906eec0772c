"""What makes sense of a submission's JSON, as a function: for the history.

Locks: none.
Safe with the code before it: yes, if it gets by with what they give now.
Way back: puts back what was there before.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0009_review_index"), ("council", "0010_sign_in_failures")]
    operations = [
        zero_downtime.CreateFunction(
            name="benchmark_answers",
            arguments="data jsonb",
            definition="RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path TO '' AS $function$\nSELECT coalesce(jsonb_object_agg(key, answer), '{}')\n  FROM (SELECT key,\n               CASE WHEN jsonb_typeof(value) = 'string' AND btrim(text, E' \\n\\t') ~ '^-?[0-9]{1,15}([.][0-9]{1,10})?$'\n                    THEN to_jsonb(trim_scale(round(btrim(text, E' \\n\\t')::numeric, 6)))\n                    WHEN jsonb_typeof(value) = 'string' AND btrim(text) <> '' THEN to_jsonb(left(text, 500))\n                    WHEN jsonb_typeof(value) = 'number' AND abs(text::numeric) < 1e15\n                    THEN to_jsonb(trim_scale(round(text::numeric, 6)))\n               END AS answer\n          FROM jsonb_each(CASE WHEN jsonb_typeof(data) = 'object' THEN data ELSE '{}' END),\n               LATERAL (SELECT CASE WHEN jsonb_typeof(value) IN ('string', 'number') THEN value #>> '{}' END AS text)\n               AS written\n         WHERE key ~ '^[a-z][a-z0-9_]{0,62}$'\n         LIMIT 200) AS readable\n WHERE answer IS NOT NULL\n$function$",
        ),
    ]
