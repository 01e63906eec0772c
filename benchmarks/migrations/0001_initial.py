"""Benchmark submissions, one a member and category.

Locks: none, the tables are new. Safe with the code before it: yes, nothing else knows them. Way back: drops
the tables, rows and all.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields, indexes


class Migration(migrations.Migration):
    initial = True
    dependencies = [("council", "0006_member_points_index")]
    operations = [
        zero_downtime.CreateEnum(
            name="BenchmarkCategory",
            labels=["COMPENSATION", "INFRASTRUCTURE", "BUSINESS", "OPERATIONAL"],
        ),
        migrations.CreateModel(
            name="BenchmarkSubmission",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                (
                    "member",
                    models.ForeignKey(
                        db_column="memberId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="benchmark_submissions",
                        to="council.member",
                    ),
                ),
                ("category", fields.EnumField(enum="BenchmarkCategory")),
                ("data", models.JSONField()),
                ("is_valid", models.BooleanField(db_column="isValid", db_default=True, verbose_name="valid")),
                (
                    "submitted_at",
                    fields.TimestampField(
                        db_column="submittedAt", db_default=fields.CurrentTimestamp(), editable=False
                    ),
                ),
                ("updated_at", fields.TimestampField(auto_now=True, db_column="updatedAt")),
            ],
            options={
                "db_table": "BenchmarkSubmission",
                "constraints": [
                    indexes.UniqueIndex(
                        fields=("member", "category"), name="BenchmarkSubmission_memberId_category_key"
                    )
                ],
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="benchmarksubmission",
        ),
    ]
