"""The rows that were there before the keys obey them, too.

Locks: SHARE UPDATE EXCLUSIVE on the new tables, ROW SHARE on Member; nothing waits.
Safe with the code before it: yes. Way back: nothing to undo.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0002_fks_not_valid")]
    operations = [
        zero_downtime.ValidateConstraint(
            model_name="benchmarksubmission",
            name="BenchmarkSubmission_memberId_fkey",
        ),
    ]
