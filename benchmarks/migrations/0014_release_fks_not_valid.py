"""Figures and their basis belong to a release that is there.

Locks: SHARE ROW EXCLUSIVE on BenchmarkFigure, BenchmarkRelease and BenchmarkBasis, for an instant; writing
waits.
Safe with the code before it: yes, unless it writes rows whose parent is not there.
Way back: puts back what was there before, an instant of ACCESS EXCLUSIVE on both sides.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import constraints


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0013_releases")]
    operations = [
        zero_downtime.AddForeignKeyNotValid(
            model_name="figure",
            constraint=constraints.ForeignKeyConstraint(
                field="release",
                name="BenchmarkFigure_releaseId_fkey",
                on_delete="RESTRICT",
                on_update="RESTRICT",
            ),
        ),
        zero_downtime.AddForeignKeyNotValid(
            model_name="basis",
            constraint=constraints.ForeignKeyConstraint(
                field="release",
                name="BenchmarkBasis_releaseId_fkey",
                on_delete="RESTRICT",
                on_update="RESTRICT",
            ),
        ),
    ]
