"""New tables: JobRun.

Locks: none, the tables are new.
Safe with the code before it: yes, nothing else knows them.
Way back: drops the tables, rows and all.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields, indexes


class Migration(migrations.Migration):
    dependencies = [("council", "0010_sign_in_failures")]
    operations = [
        migrations.CreateModel(
            name="JobRun",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("job", models.TextField()),
                ("started_at", fields.TimestampField(db_column="startedAt")),
                ("lease_until", fields.TimestampField(db_column="leaseUntil")),
                ("ended_at", fields.TimestampField(db_column="endedAt", null=True)),
                (
                    "outcome",
                    models.TextField(
                        choices=[("DONE", "Done"), ("FAILED", "Failed"), ("LOST", "Lost")], null=True
                    ),
                ),
                ("counts", models.JSONField()),
                ("notes", models.JSONField()),
                ("error", models.TextField(null=True)),
                ("host", models.TextField()),
            ],
            options={
                "db_table": "JobRun",
                "constraints": [
                    indexes.UniqueIndex(
                        condition=models.Q(("ended_at__isnull", True)),
                        fields=("job",),
                        name="JobRun_job_running_key",
                    )
                ],
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="jobrun",
        ),
    ]
