"""Models of points: the ledger, its rules, and the Discord activity that earns some of them."""

from typing import Self

from django.db import models

from council.models import Member
from council.postgres.constraints import Action as ConstraintAction
from council.postgres.constraints import ForeignKeyConstraint
from council.postgres.fields import CuidField, CurrentTimestamp, EnumField, TimestampField
from council.postgres.indexes import Index, UniqueIndex
from gamification import triggers

MAX_KEY_LENGTH = 200
UNIT_XP = 100  # the XP on Discord that make a unit


class DiscordActivityType(models.TextChoices):
    MESSAGE = "MESSAGE"
    REACTION_GIVEN = "REACTION_GIVEN"
    REACTION_RECEIVED = "REACTION_RECEIVED"


class Action(models.TextChoices):
    """The actions that points are given or taken for."""

    INTRO_COMPLETED = "intro_completed"
    BENCHMARK_SUBMISSION = "benchmark_submission"
    RESOURCE_DOWNLOAD = "resource_download"
    DISCORD_ACTIVITY = "discord_activity", "Discord activity"
    ADMIN_ADJUSTMENT = "admin_adjustment"


class PointTransaction(models.Model):
    """A row of the points ledger. The ledger is append-only: a row is deleted only with its member.

    Triggers add every row to the figures in `Member`, whether Django or the gateway wrote it. `idempotency_key` says
    what the row pays for, and is unique. Rows that the gateway wrote may have none.
    """

    id = CuidField()
    member = models.ForeignKey(
        Member,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="memberId",
        related_name="point_transactions",
    )
    action = models.TextField()
    points = models.IntegerField()
    metadata = models.JSONField(null=True, blank=True)
    created_at = TimestampField(db_column="createdAt", db_default=CurrentTimestamp(), editable=False)
    idempotency_key = models.CharField(
        max_length=MAX_KEY_LENGTH, db_column="idempotencyKey", null=True, blank=True, editable=False
    )
    reverses = models.ForeignKey(
        "self",
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="reversesId",
        related_name="reversals",
        null=True,
        blank=True,
    )

    is_misdated = models.BooleanField(
        "dated in the future",
        db_column="isMisdated",
        db_default=False,
        editable=False,
        help_text="From before the database refused such rows. It counts in the total, but in no month or streak.",
    )

    class Meta:
        db_table = "PointTransaction"
        constraints = [
            UniqueIndex(
                name="PointTransaction_idempotencyKey_key",
                fields=["idempotency_key"],
                condition=models.Q(idempotency_key__isnull=False),
            ),
            UniqueIndex(
                name="PointTransaction_reversesId_key",
                fields=["reverses"],
                condition=models.Q(reverses__isnull=False),
            ),
            ForeignKeyConstraint(
                name="PointTransaction_reversesId_fkey",
                field="reverses",
                on_delete=ConstraintAction.NO_ACTION,
                on_update=ConstraintAction.NO_ACTION,
            ),
            ForeignKeyConstraint(
                name="PointTransaction_memberId_fkey",
                field="member",
                on_delete=ConstraintAction.CASCADE,
                on_update=ConstraintAction.CASCADE,
            ),
        ]
        indexes = [
            Index(name="PointTransaction_action_idx", fields=["action"]),
            Index(name="PointTransaction_createdAt_idx", fields=["created_at"]),
            Index(name="PointTransaction_memberId_idx", fields=["member"]),
            Index(name="PointTransaction_memberId_createdAt_id_idx", fields=["member", "-created_at", "-id"]),
        ]
        triggers = [
            triggers.UPDATE_MEMBER_POINTS,
            triggers.KEYS,
            triggers.APPEND_ONLY,
            triggers.LIMITS,
            triggers.WITH_ITS_MEMBER,
            triggers.NO_TRUNCATE,
            triggers.IN_UTC,
            triggers.REVERSAL,
        ]

    def __str__(self) -> str:
        return f"{self.points:+d} {self.action}"

    @property
    def reason(self) -> str:
        """Return the reason that staff gave, which the member can read."""
        reason = self.metadata.get("reason") if isinstance(self.metadata, dict) else None
        return reason if isinstance(reason, str) else ""


class Introduction(Member):
    """A proxy of Member for the trigger that pays for an introduction once the gateway has recorded it."""

    class Meta:
        proxy = True
        triggers = [triggers.PAY_INTRODUCTION]


class PointRule(models.Model):
    """How many points an action earns. A change takes effect at once, and only for new rows.

    A rule that is disabled or worth 0 pays nothing. Members see the label, the description and the points.
    """

    action = models.TextField(primary_key=True, editable=False)
    points = models.IntegerField(help_text="For doing it once. For Discord activity: for each 100 XP.")
    enabled = models.BooleanField(db_default=True)
    label = models.CharField(max_length=80)
    description = models.CharField(max_length=300)
    updated_at = TimestampField(db_column="updatedAt", auto_now=True)
    updated_by = models.TextField(db_column="updatedBy", null=True, blank=True, editable=False)

    class Meta:
        db_table = "PointRule"
        constraints = [
            models.CheckConstraint(
                name="PointRule_points_check",
                condition=models.Q(points__gte=0),
                violation_error_message="A rule gives 0 points or more.",
            )
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def is_in_force(self) -> bool:
        return self.enabled and self.points > 0


class LeaderboardCheckpoint(models.Model):
    """How many listed members had more than `points` at the last count, in a month or of all time.

    With checkpoints, a low rank need not be counted from the top.
    """

    month = models.DateField(null=True)
    points = models.IntegerField()
    members_above = models.IntegerField(db_column="membersAbove")

    class Meta:
        db_table = "LeaderboardCheckpoint"
        indexes = [Index(name="LeaderboardCheckpoint_month_points_idx", fields=["month", "points"])]

    def __str__(self) -> str:
        return f"{self.members_above} above {self.points}"


class DiscordActivity(models.Model):
    """A member's activity on Discord between two syncs."""

    id = CuidField()
    member = models.ForeignKey(
        Member,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="memberId",
        related_name="discord_activities",
    )
    discord_id = models.TextField(db_column="discordId")
    activity_type = EnumField(
        enum="DiscordActivityType", choices=DiscordActivityType, db_column="activityType"
    )
    xp_delta = models.IntegerField(db_column="xpDelta", null=True, blank=True)
    xp_total = models.IntegerField(db_column="xpTotal", null=True, blank=True)
    synced_at = TimestampField(db_column="syncedAt", db_default=CurrentTimestamp(), editable=False)

    class Meta:
        db_table = "DiscordActivity"
        verbose_name_plural = "Discord activities"
        constraints = [
            ForeignKeyConstraint(
                name="DiscordActivity_memberId_fkey",
                field="member",
                on_delete=ConstraintAction.CASCADE,
                on_update=ConstraintAction.CASCADE,
            ),
        ]
        indexes = [
            Index(name="DiscordActivity_discordId_idx", fields=["discord_id"]),
            Index(name="DiscordActivity_memberId_idx", fields=["member"]),
            Index(name="DiscordActivity_syncedAt_idx", fields=["synced_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.activity_type} {self.xp_delta or 0:+d} XP"


class DiscordStanding(models.Model):
    """How much of a member's Discord XP has been settled since their account was first seen.

    The row's id stands for the link to the account. A member who links another account gets a new row and baseline.
    """

    id = CuidField()
    member = models.ForeignKey(
        Member,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="memberId",
        related_name="discord_standings",
    )
    discord_id = models.TextField(db_column="discordId")
    baseline_xp = models.IntegerField("XP at the baseline", db_column="baselineXp")
    xp = models.IntegerField("XP")
    highest_xp = models.IntegerField("highest XP", db_column="highestXp")
    settled_units = models.IntegerField(db_column="settledUnits")
    updated_at = TimestampField(db_column="updatedAt", auto_now=True)

    class Meta:
        db_table = "DiscordStanding"
        constraints = [
            UniqueIndex(name="DiscordStanding_memberId_key", fields=["member"]),
            ForeignKeyConstraint(
                name="DiscordStanding_memberId_fkey",
                field="member",
                on_delete=ConstraintAction.CASCADE,
                on_update=ConstraintAction.CASCADE,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.discord_id} at {self.xp:,} XP"

    @classmethod
    def baseline(cls, *, member_id: str, discord_id: str, xp: int) -> Self:
        """Start to count at this XP. Nothing is owed for earlier XP."""
        return cls(
            member_id=member_id, discord_id=discord_id, baseline_xp=xp, xp=xp, highest_xp=xp, settled_units=0
        )

    def see(self, xp: int) -> int:
        """Record the current XP and settle the units that it adds. Returns their number."""
        self.xp = xp
        self.highest_xp = max(self.highest_xp, xp)
        units = (self.highest_xp - self.baseline_xp) // UNIT_XP - self.settled_units
        self.settled_units += units
        return units
