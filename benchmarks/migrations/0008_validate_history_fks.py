"""The rows that were there before the keys obey them, too.

Locks: SHARE UPDATE EXCLUSIVE on BenchmarkVersion and BenchmarkReview, ROW SHARE on the keys' parents;
nothing waits.
Safe with the code before it: yes.
Way back: nothing to undo.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0007_history_fks_not_valid")]
    operations = [
        zero_downtime.ValidateConstraint(
            model_name="benchmarkversion",
            name="BenchmarkVersion_memberId_fkey",
        ),
        zero_downtime.ValidateConstraint(
            model_name="benchmarkreview",
            name="BenchmarkReview_versionId_fkey",
        ),
    ]
