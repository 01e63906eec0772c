"""The key of what a row of the ledger pays for, where the row tells.

Locks: none. Safe with the code before it: yes, nobody calls it yet. Way back: drops it.
"""

from django.db import migrations

from council import zero_downtime

POINT_TRANSACTION_KEY = """\
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path TO ''
RETURN substring(
    CASE action
    WHEN 'intro_completed' THEN action || ':' || member_id
    WHEN 'benchmark_submission' THEN action || ':' || member_id || ':' || nullif(metadata ->> 'category', '')
    WHEN 'resource_download' THEN action || ':' || member_id || ':' || nullif(metadata ->> 'resourceId', '')
    END FROM '^.{1,200}$')"""


class Migration(migrations.Migration):
    dependencies = [("council", "0014_like_indexes"), ("gamification", "0023_whole_ledger_triggers")]
    operations = [
        zero_downtime.CreateFunction(
            name="point_transaction_key",
            arguments="action text, member_id text, metadata jsonb",
            definition=POINT_TRANSACTION_KEY,
        ),
    ]
