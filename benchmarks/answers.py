"""The raw answers: what members say about their companies, in every version.

Other members must never see a member's answers: they see releases, and staff see answers without the member. So only
the modules that pyproject.toml names may import this one, and none of them is a view.
"""

from django.contrib.postgres.functions import RandomUUID
from django.db import models

from benchmarks import triggers
from benchmarks.definitions import Category
from council.models import Member
from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import CuidField, CurrentTimestamp, EnumField, TimestampField
from council.postgres.indexes import GinIndex, Index, UniqueIndex


class BenchmarkSubmission(models.Model):
    """A member's current answers in one category. `data` maps a field's name to a number or a text.

    This is the table that the gateway knows. A trigger records every change in `BenchmarkVersion`. `updated_at` is
    the time when the member last sent the answers, or confirmed that they are still right.
    """

    id = CuidField()
    member = models.ForeignKey(
        Member,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="memberId",
        related_name="+",
    )
    category = EnumField(enum="BenchmarkCategory", choices=Category)
    data = models.JSONField()
    is_valid = models.BooleanField("valid", db_column="isValid", db_default=True)
    submitted_at = TimestampField(db_column="submittedAt", db_default=CurrentTimestamp(), editable=False)
    updated_at = TimestampField(db_column="updatedAt", auto_now=True)

    class Meta:
        db_table = "BenchmarkSubmission"
        constraints = [
            UniqueIndex(name="BenchmarkSubmission_memberId_category_key", fields=["member", "category"]),
            ForeignKeyConstraint(
                name="BenchmarkSubmission_memberId_fkey",
                field="member",
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
        ]
        indexes = [
            Index(name="BenchmarkSubmission_category_idx", fields=["category"]),
            GinIndex(name="BenchmarkSubmission_data_idx", fields=["data"], opclasses=["jsonb_path_ops"]),
            Index(name="BenchmarkSubmission_memberId_idx", fields=["member"]),
        ]
        triggers = [triggers.RECORD_VERSION, triggers.NO_SUBMISSION_TRUNCATE]

    def __str__(self) -> str:
        return str(self.category)


class BenchmarkVersion(models.Model):
    """A member's answers in a category from `recorded_at` on. A trigger adds these rows, and they never change.

    `number` counts a member's versions in the category, from 1. `data` is the part of the stored JSON that makes
    sense, an object of numbers and short texts from the SQL function benchmark_answers. It is empty if `is_withdrawn`.
    `company_key` is the member's company at that time: `team:`, `customer:` (who pays) or `member:`, and an id.
    The row's id is random, so that it reveals neither the member nor the time.
    """

    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    member = models.ForeignKey(
        Member,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="memberId",
        related_name="+",
    )
    category = EnumField(enum="BenchmarkCategory", choices=Category)
    number = models.IntegerField()
    data = models.JSONField()
    is_withdrawn = models.BooleanField(db_column="isWithdrawn", db_default=False)
    company_key = models.TextField(db_column="companyKey")
    recorded_at = TimestampField(db_column="recordedAt", editable=False)

    class Meta:
        db_table = "BenchmarkVersion"
        constraints = [
            UniqueIndex(
                name="BenchmarkVersion_memberId_category_number_key", fields=["member", "category", "number"]
            ),
            ForeignKeyConstraint(
                name="BenchmarkVersion_memberId_fkey",
                field="member",
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
        ]
        triggers = [triggers.VERSION_APPEND_ONLY, triggers.NO_VERSION_TRUNCATE]

    def __str__(self) -> str:
        return str(self.category)
