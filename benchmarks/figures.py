"""Models of releases: the figures that members see, and the versions that they were made from. All are append-only."""

from django.contrib.postgres.fields import ArrayField
from django.db import models

from benchmarks import release_triggers
from benchmarks.definitions import Category
from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import CuidField, CurrentTimestamp, EmptyTextArray, EnumField, TimestampField
from council.postgres.indexes import UniqueIndex


class Rule(models.TextChoices):
    """The rule that withheld a cell. Staff see it, members do not."""

    TOO_FEW = "too_few", "Fewer than 10 companies have an answer."
    TOO_FEW_BESIDE = "too_few_beside", "The companies outside of the group would be 1 to 9."
    FEW_CHANGED = (
        "few_changed",
        "The last figure is too old, and too few companies changed since it was made.",
    )
    ONE_CHOICE = "one_choice", "One choice has more than 80 % of the companies."
    RARE_CHOICES = "rare_choices", "No choice has enough companies."


class Release(models.Model):
    """The figures of one month, as of its end. A release is made once and never changed.

    `cut_off` is the start of the next month. The database sets `taken_at`.
    """

    id = CuidField()
    month = models.DateField(help_text="The first day of the month that the release closes.")
    cut_off = TimestampField(db_column="cutOff")
    taken_at = TimestampField(db_column="takenAt", db_default=CurrentTimestamp(), editable=False)

    class Meta:
        db_table = "BenchmarkRelease"
        constraints = [
            UniqueIndex(name="BenchmarkRelease_month_key", fields=["month"]),
            models.CheckConstraint(name="BenchmarkRelease_month_check", condition=models.Q(month__day=1)),
        ]
        triggers = [
            release_triggers.TAKEN_IN_TIME,
            release_triggers.RELEASE_APPEND_ONLY,
            release_triggers.RELEASE_NO_TRUNCATE,
        ]

    def __str__(self) -> str:
        return f"Release of {self.cut_off:%-d %B %Y}"


class Figure(models.Model):
    """A cell of a release: a field, for all companies or for a group of them. It is published, or withheld by a rule.

    `dimension` is empty for all companies; otherwise it is the field by which they are grouped, and `bands` are the
    choices that were joined into the group. `as_of` is the cut-off day of the release that made the figure, an earlier
    one if the figure was carried over. A number has quantiles, with p10 and p90 from 30 companies on. A choice has
    `shares`, the percentage of companies for each choice. `companies_at_least` is 10, 30 or 100.
    """

    id = CuidField()
    release = models.ForeignKey(
        Release,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="releaseId",
        related_name="figures",
    )
    category = EnumField(enum="BenchmarkCategory", choices=Category)
    field = models.TextField()
    dimension = models.TextField(db_default="", blank=True)
    bands = ArrayField(models.TextField(), db_default=EmptyTextArray(), blank=True)
    as_of = models.DateField(db_column="asOf", null=True)
    companies_at_least = models.IntegerField(db_column="companiesAtLeast", null=True)
    p10 = models.FloatField(null=True)
    p25 = models.FloatField(null=True)
    p50 = models.FloatField(null=True)
    p75 = models.FloatField(null=True)
    p90 = models.FloatField(null=True)
    shares = models.JSONField(null=True)
    withheld_by = models.TextField(db_column="withheldBy", choices=Rule, null=True)

    class Meta:
        db_table = "BenchmarkFigure"
        constraints = [
            UniqueIndex(
                name="BenchmarkFigure_releaseId_category_field_dimension_bands_key",
                fields=["release", "category", "field", "dimension", "bands"],
            ),
            ForeignKeyConstraint(
                name="BenchmarkFigure_releaseId_fkey",
                field="release",
                on_delete=Action.RESTRICT,
                on_update=Action.RESTRICT,
            ),
            models.CheckConstraint(
                name="BenchmarkFigure_withheld_check",
                condition=models.Q(
                    withheld_by__isnull=False,
                    as_of=None,
                    companies_at_least=None,
                    p10=None,
                    p25=None,
                    p50=None,
                    p75=None,
                    p90=None,
                    shares=None,
                )
                | models.Q(
                    withheld_by=None,
                    as_of__isnull=False,
                    companies_at_least__isnull=False,
                    companies_at_least__in=(10, 30, 100),
                ),
            ),
        ]
        triggers = [
            release_triggers.FIGURE_IN_TIME,
            release_triggers.FIGURE_APPEND_ONLY,
            release_triggers.FIGURE_NO_TRUNCATE,
        ]

    def __str__(self) -> str:
        return f"{self.field} {' + '.join(self.bands)}".rstrip()


class Basis(models.Model):
    """The versions that a release was made from. They show how many companies changed since a figure was made.

    `versions` are ids. Of a company's versions, the first one with an answer counts. With `is_aged` they are the
    versions that were 90 days old, which are used for pay and fees. No page shows this table.
    """

    id = CuidField()
    release = models.ForeignKey(
        Release,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="releaseId",
        related_name="+",
    )
    category = EnumField(enum="BenchmarkCategory", choices=Category)
    is_aged = models.BooleanField(db_column="isAged")
    versions = ArrayField(models.UUIDField())

    class Meta:
        db_table = "BenchmarkBasis"
        verbose_name_plural = "bases"
        constraints = [
            UniqueIndex(
                name="BenchmarkBasis_releaseId_category_isAged_key", fields=["release", "category", "is_aged"]
            ),
            ForeignKeyConstraint(
                name="BenchmarkBasis_releaseId_fkey",
                field="release",
                on_delete=Action.RESTRICT,
                on_update=Action.RESTRICT,
            ),
        ]
        triggers = [
            release_triggers.BASIS_IN_TIME,
            release_triggers.BASIS_APPEND_ONLY,
            release_triggers.BASIS_NO_TRUNCATE,
        ]

    def __str__(self) -> str:
        return f"{self.category} {self.release_id}"
