"""New tables: DiscordStanding.

Locks: none, the tables are new.
Safe with the code before it: yes, nothing else knows them.
Way back: drops the tables, rows and all.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields, indexes


class Migration(migrations.Migration):
    dependencies = [("council", "0011_job_run"), ("gamification", "0014_points_trigger_plan")]
    operations = [
        migrations.CreateModel(
            name="DiscordStanding",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                ("discord_id", models.TextField(db_column="discordId")),
                (
                    "baseline_xp",
                    models.IntegerField(db_column="baselineXp", verbose_name="XP at the baseline"),
                ),
                ("xp", models.IntegerField(verbose_name="XP")),
                ("highest_xp", models.IntegerField(db_column="highestXp", verbose_name="highest XP")),
                ("settled_units", models.IntegerField(db_column="settledUnits")),
                ("updated_at", fields.TimestampField(auto_now=True, db_column="updatedAt")),
                (
                    "member",
                    models.ForeignKey(
                        db_column="memberId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="discord_standings",
                        to="council.member",
                    ),
                ),
            ],
            options={
                "db_table": "DiscordStanding",
                "constraints": [indexes.UniqueIndex(fields=("member",), name="DiscordStanding_memberId_key")],
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="discordstanding",
        ),
    ]
