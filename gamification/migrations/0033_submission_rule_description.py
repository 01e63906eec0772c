"""The rule for benchmark answers says when it pays: at the first submission, not when figures are published.

A description that staff changed stays. Locks: the rule's row, for an instant. Safe with the code before it: yes.
Way back: the description as it was.
"""

from django.db import migrations

DESCRIBE = """
UPDATE "PointRule"
   SET description = 'Once for each category, when you first send your answers.',
       "updatedAt" = now() AT TIME ZONE 'UTC'
 WHERE action = 'benchmark_submission'
   AND description = 'Once for each category, when your figures are published.'
"""
RESTORE = """
UPDATE "PointRule"
   SET description = 'Once for each category, when your figures are published.',
       "updatedAt" = now() AT TIME ZONE 'UTC'
 WHERE action = 'benchmark_submission'
   AND description = 'Once for each category, when you first send your answers.'
"""


class Migration(migrations.Migration):
    dependencies = [("gamification", "0032_mark_misdated")]
    operations = [migrations.RunSQL(DESCRIBE, RESTORE)]
