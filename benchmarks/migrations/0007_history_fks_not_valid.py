"""Versions belong to a member and reviews to a version, and go with them.

Locks: SHARE ROW EXCLUSIVE on BenchmarkVersion, Member and BenchmarkReview, for an instant; writing waits.
Safe with the code before it: yes, unless it writes rows whose parent is not there.
Way back: puts back what was there before, an instant of ACCESS EXCLUSIVE on both sides.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import constraints


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0006_history")]
    operations = [
        zero_downtime.AddForeignKeyNotValid(
            model_name="benchmarkversion",
            constraint=constraints.ForeignKeyConstraint(
                field="member",
                name="BenchmarkVersion_memberId_fkey",
                on_delete="CASCADE",
                on_update="CASCADE",
            ),
        ),
        zero_downtime.AddForeignKeyNotValid(
            model_name="benchmarkreview",
            constraint=constraints.ForeignKeyConstraint(
                field="version",
                name="BenchmarkReview_versionId_fkey",
                on_delete="CASCADE",
                on_update="CASCADE",
            ),
        ),
    ]
