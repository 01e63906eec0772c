"""What each action is worth, and how many members stand above a number of points.

Locks: none, the tables are new. Safe with the code before it: yes, nothing else knows them. Way back: drops them.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields, indexes

RULES = """
INSERT INTO "PointRule" (action, points, label, description, "updatedAt")
VALUES ('intro_completed', 25, 'Introduce yourself', 'Write your introduction on Discord.', now() AT TIME ZONE 'UTC'),
       ('benchmark_submission', 50, 'Share your benchmarks', 'Once for each category, when your figures are published.', now() AT TIME ZONE 'UTC'),
       ('resource_download', 5, 'Download a resource', 'Once for each resource of the library.', now() AT TIME ZONE 'UTC'),
       ('discord_activity', 1, 'Take part on Discord', 'For each 100 XP that you gain there.', now() AT TIME ZONE 'UTC')
ON CONFLICT (action) DO NOTHING
"""


class Migration(migrations.Migration):
    dependencies = [("gamification", "0006_ledger_columns")]
    operations = [
        migrations.CreateModel(
            name="PointRule",
            fields=[
                ("action", models.TextField(editable=False, primary_key=True, serialize=False)),
                (
                    "points",
                    models.IntegerField(help_text="For each time; for Discord activity, for each 100 XP."),
                ),
                ("enabled", models.BooleanField(db_default=True)),
                # squawk: ignore prefer-text-field: as long as the pages have room for; a table of a few rows
                ("label", models.CharField(max_length=80)),
                ("description", models.CharField(max_length=300)),
                ("updated_at", fields.TimestampField(auto_now=True, db_column="updatedAt")),
                (
                    "updated_by",
                    models.TextField(blank=True, db_column="updatedBy", editable=False, null=True),
                ),
            ],
            options={
                "db_table": "PointRule",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("points__gte", 0)),
                        name="PointRule_points_check",
                        violation_error_message="A rule gives 0 points or more.",
                    )
                ],
            },
        ),
        zero_downtime.EnableRowLevelSecurity(model_name="pointrule"),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
        migrations.CreateModel(
            name="LeaderboardCheckpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("month", models.DateField(null=True)),
                ("points", models.IntegerField()),
                ("members_above", models.IntegerField(db_column="membersAbove")),
            ],
            options={
                "db_table": "LeaderboardCheckpoint",
                "indexes": [
                    indexes.Index(fields=["month", "points"], name="LeaderboardCheckpoint_month_points_idx")
                ],
            },
        ),
        zero_downtime.EnableRowLevelSecurity(model_name="leaderboardcheckpoint"),
    ]
