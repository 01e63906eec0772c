"""The models of this app: reviews are here, releases in `figures`, raw answers in `answers`.

Only a few modules may import `answers`, and views may not (pyproject.toml).
"""

from django.db import models

from benchmarks import answers, figures, triggers  # noqa: F401  # Django looks for an app's models here
from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import EnumField, TimestampField
from council.postgres.indexes import Index


class State(models.TextChoices):
    """The state of a version. Releases use received versions, but no flagged or rejected ones."""

    RECEIVED = "RECEIVED"
    FLAGGED = "FLAGGED"
    REJECTED = "REJECTED"


class BenchmarkReview(models.Model):
    """A state that was given to a version. Rows are append-only: of a version's rows, the newest by `id` is in force.

    The first row comes from the program. It has no `reviewed_by`, and the time of the version. A version that the
    gateway wrote has no row until the job receive_benchmarks adds it.
    """

    version = models.ForeignKey(
        "benchmarks.BenchmarkVersion",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="versionId",
        related_name="reviews",
    )
    state = EnumField(enum="BenchmarkState", choices=State)
    reason = models.TextField(db_default="")
    reviewed_by = models.TextField(db_column="reviewedBy", null=True, blank=True)
    created_at = TimestampField(db_column="createdAt", editable=False)

    class Meta:
        db_table = "BenchmarkReview"
        constraints = [
            ForeignKeyConstraint(
                name="BenchmarkReview_versionId_fkey",
                field="version",
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
        ]
        indexes = [Index(name="BenchmarkReview_versionId_id_idx", fields=["version", "id"])]
        triggers = [triggers.REVIEW_APPEND_ONLY, triggers.NO_REVIEW_TRUNCATE]

    def __str__(self) -> str:
        return str(self.state)
