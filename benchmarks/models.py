"""Peer benchmarks: what members say about their companies. Nobody's answers are shown to anybody else."""

from django.db import models

from benchmarks.definitions import Category
from council.models import Member
from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import CuidField, CurrentTimestamp, EnumField, TimestampField
from council.postgres.indexes import GinIndex, Index, UniqueIndex


class BenchmarkSubmission(models.Model):
    """A member's answers in one category: `data` maps a field's name to a number or a text."""

    id = CuidField()
    member = models.ForeignKey(
        Member,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="memberId",
        related_name="benchmark_submissions",
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

    def __str__(self) -> str:
        return f"{self.category} {self.submitted_at:%Y-%m-%d}"
