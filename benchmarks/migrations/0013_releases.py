"""Releases of benchmarks: their figures, and what they were made from.

Locks: none, the tables are new.
Safe with the code before it: yes, nothing else knows them.
Way back: drops the tables, rows and all.
"""

import django.contrib.postgres.fields
from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields, indexes


class Migration(migrations.Migration):
    dependencies = [("benchmarks", "0012_fill_history")]
    operations = [
        migrations.CreateModel(
            name="Release",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                ("month", models.DateField(help_text="The first day of the month that the release closes.")),
                ("cut_off", fields.TimestampField(db_column="cutOff")),
                (
                    "taken_at",
                    fields.TimestampField(
                        db_column="takenAt", db_default=fields.CurrentTimestamp(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "BenchmarkRelease",
                "constraints": [
                    indexes.UniqueIndex(fields=("month",), name="BenchmarkRelease_month_key"),
                    models.CheckConstraint(
                        condition=models.Q(("month__day", 1)), name="BenchmarkRelease_month_check"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Figure",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                ("category", fields.EnumField(enum="BenchmarkCategory")),
                ("field", models.TextField()),
                ("dimension", models.TextField(blank=True, db_default="")),
                (
                    "bands",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.TextField(),
                        blank=True,
                        db_default=fields.EmptyTextArray(),
                        size=None,
                    ),
                ),
                ("as_of", models.DateField(db_column="asOf", null=True)),
                ("companies_at_least", models.IntegerField(db_column="companiesAtLeast", null=True)),
                ("p10", models.FloatField(null=True)),
                ("p25", models.FloatField(null=True)),
                ("p50", models.FloatField(null=True)),
                ("p75", models.FloatField(null=True)),
                ("p90", models.FloatField(null=True)),
                ("shares", models.JSONField(null=True)),
                (
                    "withheld_by",
                    models.TextField(
                        choices=[
                            ("too_few", "Fewer than 10 companies have an answer."),
                            ("too_few_beside", "The companies outside of the group would be 1 to 9."),
                            (
                                "few_changed",
                                "The last figure is too old, and too few companies changed since it was made.",
                            ),
                            ("one_choice", "One choice has more than 80 % of the companies."),
                            ("rare_choices", "No choice has enough companies."),
                        ],
                        db_column="withheldBy",
                        null=True,
                    ),
                ),
                (
                    "release",
                    models.ForeignKey(
                        db_column="releaseId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="figures",
                        to="benchmarks.release",
                    ),
                ),
            ],
            options={
                "db_table": "BenchmarkFigure",
                "constraints": [
                    indexes.UniqueIndex(
                        fields=("release", "category", "field", "dimension", "bands"),
                        name="BenchmarkFigure_releaseId_category_field_dimension_bands_key",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("as_of", None),
                                ("companies_at_least", None),
                                ("p10", None),
                                ("p25", None),
                                ("p50", None),
                                ("p75", None),
                                ("p90", None),
                                ("shares", None),
                                ("withheld_by__isnull", False),
                            ),
                            models.Q(
                                ("as_of__isnull", False),
                                ("companies_at_least__in", (10, 30, 100)),
                                ("companies_at_least__isnull", False),
                                ("withheld_by", None),
                            ),
                            _connector="OR",
                        ),
                        name="BenchmarkFigure_withheld_check",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Basis",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                ("category", fields.EnumField(enum="BenchmarkCategory")),
                ("is_aged", models.BooleanField(db_column="isAged")),
                (
                    "versions",
                    django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), size=None),
                ),
                (
                    "release",
                    models.ForeignKey(
                        db_column="releaseId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="+",
                        to="benchmarks.release",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "bases",
                "db_table": "BenchmarkBasis",
                "constraints": [
                    indexes.UniqueIndex(
                        fields=("release", "category", "is_aged"),
                        name="BenchmarkBasis_releaseId_category_isAged_key",
                    )
                ],
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="basis",
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="figure",
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="release",
        ),
    ]
