"""The table in which failed sign-ins are counted, across all processes.

Locks: none, the table is new. Safe with the code before it: yes, nothing else knows it. Way back: drops the counts.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    dependencies = [("council", "0008_member_leaderboard_indexes")]
    operations = [
        migrations.CreateModel(
            name="SignInFailures",
            fields=[
                # squawk: ignore prefer-text-field: a digest, which never grows
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("failures", models.IntegerField()),
                ("forgotten_at", models.DateTimeField()),
            ],
            options={
                "db_table": "council_signinfailures",
                "indexes": [
                    indexes.Index(name="council_signinfailures_forgotten_at_idx", fields=["forgotten_at"]),
                ],
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="signinfailures",
        ),
    ]
