"""Indexes: JobRun_job_startedAt_idx.

Locks: SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits.
Safe with the code before it: yes.
Way back: drops the indexes concurrently.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("council", "0011_job_run")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="jobrun",
            index=indexes.Index(fields=["job", "-started_at"], name="JobRun_job_startedAt_idx"),
        ),
    ]
