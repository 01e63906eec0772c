"""The reviews of a version, in order.

Locks: SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits.
Safe with the code before it: yes.
Way back: drops the indexes concurrently.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("benchmarks", "0008_validate_history_fks")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="benchmarkreview",
            index=indexes.Index(fields=["version", "id"], name="BenchmarkReview_versionId_id_idx"),
        ),
    ]
