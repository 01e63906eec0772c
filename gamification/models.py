"""Points: the ledger, and the Discord activity that some of them are paid for."""

from django.db import models

from council.models import Member
from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import CuidField, CurrentTimestamp, EnumField, TimestampField
from council.postgres.indexes import Index
from gamification import triggers


class DiscordActivityType(models.TextChoices):
    MESSAGE = "MESSAGE"
    REACTION_GIVEN = "REACTION_GIVEN"
    REACTION_RECEIVED = "REACTION_RECEIVED"


class PointTransaction(models.Model):
    """A row of the points ledger: added once, never changed, removed only with its member.

    A trigger adds every row, whoever wrote it, to `Member.total_points`.
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

    class Meta:
        db_table = "PointTransaction"
        constraints = [
            ForeignKeyConstraint(
                name="PointTransaction_memberId_fkey",
                field="member",
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
        ]
        indexes = [
            Index(name="PointTransaction_action_idx", fields=["action"]),
            Index(name="PointTransaction_createdAt_idx", fields=["created_at"]),
            Index(name="PointTransaction_memberId_idx", fields=["member"]),
        ]
        triggers = [
            triggers.UPDATE_MEMBER_POINTS,
            triggers.APPEND_ONLY,
            triggers.NO_TRUNCATE,
        ]

    def __str__(self) -> str:
        return f"{self.points:+d} {self.action}"


class DiscordActivity(models.Model):
    """What a sync with Discord found that a member had done since the one before."""

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
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
        ]
        indexes = [
            Index(name="DiscordActivity_discordId_idx", fields=["discord_id"]),
            Index(name="DiscordActivity_memberId_idx", fields=["member"]),
            Index(name="DiscordActivity_syncedAt_idx", fields=["synced_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.activity_type} {self.xp_delta or 0:+d} XP"
