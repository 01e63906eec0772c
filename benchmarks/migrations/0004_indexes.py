"""Submissions by category, by answer and by member.

Locks: SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits.
Safe with the code before it: yes. Way back: drops the indexes concurrently.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("benchmarks", "0003_validate_fks")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="benchmarksubmission",
            index=indexes.Index(fields=["category"], name="BenchmarkSubmission_category_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="benchmarksubmission",
            index=indexes.GinIndex(
                fields=["data"], name="BenchmarkSubmission_data_idx", opclasses=["jsonb_path_ops"]
            ),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="benchmarksubmission",
            index=indexes.Index(fields=["member"], name="BenchmarkSubmission_memberId_idx"),
        ),
    ]
