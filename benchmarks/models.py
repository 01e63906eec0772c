"""The tables of this app: reviews here, releases in `figures`, raw answers in `answers`.

Few modules may import `answers`, and no view (pyproject.toml).
"""

from django.db import models

from benchmarks import answers, figures, triggers  # noqa: F401  # Django looks for an app's models here
from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import EnumField, TimestampField
from council.postgres.indexes import Index


class State(models.TextChoices):
    """What becomes of a version: received ones are in releases, flagged and rejected ones are not."""

    RECEIVED = "RECEIVED"
    FLAGGED = "FLAGGED"
    REJECTED = "REJECTED"


class BenchmarkReview(models.Model):
    """A version got a state: added, and never changed. The newest of a version, by `id`, is in force.

    The first is the computer's, without `reviewed_by`, and has the version's own moment. A version that has none yet
    waits for it, as those that the gateway wrote do.
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
