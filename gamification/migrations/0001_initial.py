"""The points ledger, and Discord activity.

Locks: none, the tables are new. Safe with the code before it: yes, nothing else knows them. Way back: drops
the tables, rows and all.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields


class Migration(migrations.Migration):
    initial = True
    dependencies = [("council", "0006_member_points_index")]
    operations = [
        zero_downtime.CreateEnum(
            name="DiscordActivityType",
            labels=["MESSAGE", "REACTION_GIVEN", "REACTION_RECEIVED"],
        ),
        migrations.CreateModel(
            name="PointTransaction",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                (
                    "member",
                    models.ForeignKey(
                        db_column="memberId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="point_transactions",
                        to="council.member",
                    ),
                ),
                ("action", models.TextField()),
                ("points", models.IntegerField()),
                ("metadata", models.JSONField(blank=True, null=True)),
                (
                    "created_at",
                    fields.TimestampField(
                        db_column="createdAt", db_default=fields.CurrentTimestamp(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "PointTransaction",
            },
        ),
        migrations.CreateModel(
            name="DiscordActivity",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                (
                    "member",
                    models.ForeignKey(
                        db_column="memberId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="discord_activities",
                        to="council.member",
                    ),
                ),
                ("discord_id", models.TextField(db_column="discordId")),
                ("activity_type", fields.EnumField(db_column="activityType", enum="DiscordActivityType")),
                ("xp_delta", models.IntegerField(blank=True, db_column="xpDelta", null=True)),
                ("xp_total", models.IntegerField(blank=True, db_column="xpTotal", null=True)),
                (
                    "synced_at",
                    fields.TimestampField(
                        db_column="syncedAt", db_default=fields.CurrentTimestamp(), editable=False
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "Discord activities",
                "db_table": "DiscordActivity",
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="pointtransaction",
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="discordactivity",
        ),
    ]
