"""The history of benchmark answers, and what was decided about each version.

Locks: none, the tables are new.
Safe with the code before it: yes, nothing else knows them.
Way back: drops the tables, rows and all.
"""

import django.contrib.postgres.functions
from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields, indexes


class Migration(migrations.Migration):
    dependencies = [
        ("benchmarks", "0005_member_without_way_back"),
        ("council", "0010_sign_in_failures"),
    ]
    operations = [
        zero_downtime.CreateEnum(name="BenchmarkState", labels=["RECEIVED", "FLAGGED", "REJECTED"]),
        migrations.CreateModel(
            name="BenchmarkVersion",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=django.contrib.postgres.functions.RandomUUID(),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("category", fields.EnumField(enum="BenchmarkCategory")),
                ("number", models.IntegerField()),
                ("data", models.JSONField()),
                ("is_withdrawn", models.BooleanField(db_column="isWithdrawn", db_default=False)),
                ("company_key", models.TextField(db_column="companyKey")),
                ("recorded_at", fields.TimestampField(db_column="recordedAt", editable=False)),
                (
                    "member",
                    models.ForeignKey(
                        db_column="memberId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="+",
                        to="council.member",
                    ),
                ),
            ],
            options={
                "db_table": "BenchmarkVersion",
            },
        ),
        migrations.CreateModel(
            name="BenchmarkReview",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("state", fields.EnumField(enum="BenchmarkState")),
                ("reason", models.TextField(db_default="")),
                ("reviewed_by", models.TextField(blank=True, db_column="reviewedBy", null=True)),
                ("created_at", fields.TimestampField(db_column="createdAt", editable=False)),
                (
                    "version",
                    models.ForeignKey(
                        db_column="versionId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="reviews",
                        to="benchmarks.benchmarkversion",
                    ),
                ),
            ],
            options={
                "db_table": "BenchmarkReview",
            },
        ),
        migrations.AddConstraint(
            model_name="benchmarkversion",
            constraint=indexes.UniqueIndex(
                fields=("member", "category", "number"), name="BenchmarkVersion_memberId_category_number_key"
            ),
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="benchmarkreview",
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="benchmarkversion",
        ),
    ]
