"""Functions: next_weekday.

Locks: none.
Safe with the code before it: yes, if it gets by with what they give now.
Way back: puts back what was there before.
"""

from django.db import migrations

from council import zero_downtime

NEXT_WEEKDAY = """\
RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path TO ''
RETURN day + CASE extract(isodow FROM day) WHEN 5 THEN 3 WHEN 6 THEN 2 ELSE 1 END"""

NEXT_WEEKDAY_FORMER = """\
RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN day + CASE extract(isodow FROM day) WHEN 5 THEN 3 WHEN 6 THEN 2 ELSE 1 END"""


class Migration(migrations.Migration):
    dependencies = [
        ("council", "0013_sign_in_failures_failed_at"),
        ("gamification", "0021_like_index"),
    ]
    operations = [
        zero_downtime.ReplaceFunction(
            name="next_weekday",
            arguments="day date",
            definition=NEXT_WEEKDAY,
            former=NEXT_WEEKDAY_FORMER,
        ),
    ]
