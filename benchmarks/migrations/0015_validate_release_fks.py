"""The rows of figures and bases that were there before the keys obey them, too.

Locks: SHARE UPDATE EXCLUSIVE on BenchmarkFigure and BenchmarkBasis, ROW SHARE on the keys' parents; nothing
waits.
Safe with the code before it: yes.
Way back: nothing to undo.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0014_release_fks_not_valid")]
    operations = [
        zero_downtime.ValidateConstraint(
            model_name="figure",
            name="BenchmarkFigure_releaseId_fkey",
        ),
        zero_downtime.ValidateConstraint(
            model_name="basis",
            name="BenchmarkBasis_releaseId_fkey",
        ),
    ]
