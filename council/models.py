"""The gateway's nine tables, as the gateway created them, and this application's own tables.

Table and column names are Prisma's and must not change: the gateway reads and writes the same tables. Ids are cuids.
Times are UTC with milliseconds. Django sets `updatedAt` as the gateway does.
"""

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models

from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import CuidField, CurrentTimestamp, EmptyTextArray, EnumField, TimestampField
from council.postgres.indexes import Index, UniqueIndex


class SubscriptionStatus(models.TextChoices):
    NONE = "NONE"
    TRIALING = "TRIALING"
    ACTIVE = "ACTIVE"
    PAST_DUE = "PAST_DUE"
    CANCELLED = "CANCELLED"


GOOD_STANDING = (SubscriptionStatus.TRIALING.value, SubscriptionStatus.ACTIVE.value)


class SeatTier(models.TextChoices):
    INDIVIDUAL = "INDIVIDUAL"
    OWNER = "OWNER"
    TEAM_MEMBER = "TEAM_MEMBER"


class AdminRole(models.TextChoices):
    ADMIN = "ADMIN"
    SUPER_ADMIN = "SUPER_ADMIN"


class Team(models.Model):
    """A company with several seats, billed together."""

    id = CuidField()
    name = models.TextField()
    stripe_customer_id = models.TextField(db_column="stripeCustomerId")
    stripe_subscription_id = models.TextField(db_column="stripeSubscriptionId", null=True, blank=True)
    subscription_status = EnumField(
        enum="SubscriptionStatus",
        choices=SubscriptionStatus,
        db_column="subscriptionStatus",
        db_default=SubscriptionStatus.NONE.value,
    )
    owner_seat_count = models.IntegerField(db_column="ownerSeatCount", db_default=0)
    team_seat_count = models.IntegerField(db_column="teamSeatCount", db_default=0)
    created_at = TimestampField(db_column="createdAt", db_default=CurrentTimestamp(), editable=False)
    updated_at = TimestampField(db_column="updatedAt", auto_now=True)
    debtor_state_ends_at = TimestampField(db_column="debtorStateEndsAt", null=True, blank=True)
    grace_period_ends_at = TimestampField(db_column="gracePeriodEndsAt", null=True, blank=True)
    payment_failed_at = TimestampField(db_column="paymentFailedAt", null=True, blank=True)

    class Meta:
        db_table = "Team"
        constraints = [
            UniqueIndex(name="Team_stripeCustomerId_key", fields=["stripe_customer_id"]),
            UniqueIndex(name="Team_stripeSubscriptionId_key", fields=["stripe_subscription_id"]),
        ]

    def __str__(self) -> str:
        return self.name


MAX_NAME_LENGTH = 100

# The members who are listed on leaderboards.
LISTED = models.Q(leaderboard_visible=True, subscription_status__in=GOOD_STANDING)


class MemberQuerySet(models.QuerySet["Member"]):
    def listed(self) -> Self:
        """Keep only members on leaderboards: in good standing, and not opted out."""
        return self.filter(LISTED)


class Member(models.Model):
    """A person who has, had or will have a seat.

    Never write `total_points`, `points_month`, `month_points`, `current_streak` and `last_active_at`: a trigger updates
    them when a row is added to the points ledger (gamification). `month_points` counts the month that begins on
    `points_month`, the last month with a row.
    """

    id = CuidField()
    discord_id = models.TextField(db_column="discordId", null=True, blank=True)
    discord_username = models.TextField(db_column="discordUsername", null=True, blank=True)
    discord_avatar = models.TextField(db_column="discordAvatar", null=True, blank=True)
    stripe_customer_id = models.TextField(db_column="stripeCustomerId", null=True, blank=True)
    email = models.TextField(null=True, blank=True)
    first_name = models.TextField(db_column="firstName", null=True, blank=True)
    last_name = models.TextField(db_column="lastName", null=True, blank=True)
    company = models.TextField(null=True, blank=True)
    job_title = models.TextField(db_column="jobTitle", null=True, blank=True)
    linkedin_url = models.TextField("LinkedIn URL", db_column="linkedInUrl", null=True, blank=True)
    referral_source = models.TextField(db_column="referralSource", null=True, blank=True)
    subscription_status = EnumField(
        enum="SubscriptionStatus",
        choices=SubscriptionStatus,
        db_column="subscriptionStatus",
        db_default=SubscriptionStatus.NONE.value,
    )
    seat_tier = EnumField(enum="SeatTier", choices=SeatTier, db_column="seatTier", null=True, blank=True)
    current_period_end = TimestampField(db_column="currentPeriodEnd", null=True, blank=True)
    intro_completed = models.BooleanField(db_column="introCompleted", db_default=False)
    intro_completed_at = TimestampField(db_column="introCompletedAt", null=True, blank=True)
    intro_message_id = models.TextField(db_column="introMessageId", null=True, blank=True)
    team = models.ForeignKey(
        Team,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="teamId",
        related_name="members",
        null=True,
        blank=True,
    )
    is_team_admin = models.BooleanField(db_column="isTeamAdmin", db_default=False)
    created_at = TimestampField(db_column="createdAt", db_default=CurrentTimestamp(), editable=False)
    updated_at = TimestampField(db_column="updatedAt", auto_now=True)
    password_hash = models.TextField(db_column="passwordHash", null=True, blank=True, editable=False)
    last_guidance_dm_at = TimestampField(db_column="lastGuidanceDmAt", null=True, blank=True)
    is_primary_owner = models.BooleanField(db_column="isPrimaryOwner", db_default=False)
    debtor_state_ends_at = TimestampField(db_column="debtorStateEndsAt", null=True, blank=True)
    grace_period_ends_at = TimestampField(db_column="gracePeriodEndsAt", null=True, blank=True)
    is_in_debtor_state = models.BooleanField(db_column="isInDebtorState", db_default=False)
    payment_failed_at = TimestampField(db_column="paymentFailedAt", null=True, blank=True)
    previous_role = models.TextField(db_column="previousRole", null=True, blank=True)
    sent_billing_notifications = ArrayField(
        models.TextField(),
        db_column="sentBillingNotifications",
        db_default=EmptyTextArray(),
        null=True,
        blank=True,
    )
    current_streak = models.IntegerField(db_column="currentStreak", db_default=0, editable=False)
    last_active_at = TimestampField(db_column="lastActiveAt", null=True, editable=False)
    total_points = models.IntegerField(db_column="totalPoints", db_default=0, editable=False)
    month_points = models.IntegerField(db_column="monthPoints", db_default=0, editable=False)
    points_month = models.DateField(db_column="pointsMonth", null=True, editable=False)
    leaderboard_visible = models.BooleanField(
        "listed on leaderboards", db_column="leaderboardVisible", db_default=True
    )

    objects = MemberQuerySet.as_manager()

    class Meta:
        db_table = "Member"
        constraints = [
            UniqueIndex(name="Member_discordId_key", fields=["discord_id"]),
            UniqueIndex(name="Member_email_key", fields=["email"]),
            UniqueIndex(name="Member_stripeCustomerId_key", fields=["stripe_customer_id"]),
            ForeignKeyConstraint(
                name="Member_teamId_fkey", field="team", on_delete=Action.SET_NULL, on_update=Action.CASCADE
            ),
        ]
        indexes = [
            Index(name="Member_subscriptionStatus_idx", fields=["subscription_status"]),
            Index(name="Member_teamId_idx", fields=["team"]),
            Index(name="Member_totalPoints_idx", fields=["-total_points"]),
            Index(
                name="Member_leaderboard_idx",
                fields=["-total_points", "id"],
                condition=LISTED & models.Q(total_points__gt=0),
            ),
            Index(
                name="Member_monthLeaderboard_idx",
                fields=["points_month", "-month_points", "id"],
                condition=LISTED & models.Q(month_points__gt=0),
            ),
        ]

    def __str__(self) -> str:
        name = self.full_name or self.discord_username or self.email or self.id
        return name[:MAX_NAME_LENGTH]

    @property
    def full_name(self) -> str:
        """The first and last name, cut to MAX_NAME_LENGTH. The gateway's columns have no limit."""
        parts = (name[:MAX_NAME_LENGTH] for name in (self.first_name, self.last_name) if name)
        return " ".join(parts)[:MAX_NAME_LENGTH]

    @property
    def public_name(self) -> str:
        """The name that other members may see. Never an email address or an id, even if stored as a name."""
        private = {self.pk, self.discord_id, self.stripe_customer_id}
        for name in (self.full_name.strip(), (self.discord_username or "").strip()):
            if name and "@" not in name and name not in private:
                return name[:MAX_NAME_LENGTH]
        return "A member"

    @property
    def is_in_good_standing(self) -> bool:
        """Whether the member may download, submit answers, see results and be listed."""
        return self.subscription_status in GOOD_STANDING


class PendingInvite(models.Model):
    """An invitation to a seat of a team. The token is a secret."""

    id = CuidField()
    team = models.ForeignKey(
        Team,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="teamId",
        related_name="pending_invites",
    )
    seat_tier = EnumField(enum="SeatTier", choices=SeatTier, db_column="seatTier")
    token = models.TextField()
    accepted_at = TimestampField(db_column="acceptedAt", null=True, blank=True)
    accepted_by = models.TextField(db_column="acceptedBy", null=True, blank=True)
    created_at = TimestampField(db_column="createdAt", db_default=CurrentTimestamp(), editable=False)
    created_by = models.TextField(db_column="createdBy")
    invitee_email = models.TextField(db_column="inviteeEmail", null=True, blank=True)

    class Meta:
        db_table = "PendingInvite"
        constraints = [
            UniqueIndex(name="PendingInvite_token_key", fields=["token"]),
            ForeignKeyConstraint(
                name="PendingInvite_teamId_fkey",
                field="team",
                on_delete=Action.RESTRICT,
                on_update=Action.CASCADE,
            ),
        ]
        indexes = [
            Index(name="PendingInvite_teamId_idx", fields=["team"]),
            Index(name="PendingInvite_token_idx", fields=["token"]),
        ]

    def __str__(self) -> str:
        return self.invitee_email or self.id


class Admin(models.Model):
    """A member of staff in the gateway."""

    id = CuidField()
    email = models.TextField()
    password_hash = models.TextField(db_column="passwordHash", editable=False)
    role = EnumField(enum="AdminRole", choices=AdminRole, db_default=AdminRole.ADMIN.value)
    last_login_at = TimestampField(db_column="lastLoginAt", null=True, blank=True)
    created_at = TimestampField(db_column="createdAt", db_default=CurrentTimestamp(), editable=False)
    updated_at = TimestampField(db_column="updatedAt", auto_now=True)
    created_by = models.TextField(db_column="createdBy", null=True, blank=True)

    class Meta:
        db_table = "Admin"
        constraints = [UniqueIndex(name="Admin_email_key", fields=["email"])]
        indexes = [Index(name="Admin_email_idx", fields=["email"])]

    def __str__(self) -> str:
        return self.email


class FeatureFlag(models.Model):
    """A switch that the gateway reads."""

    id = CuidField()
    key = models.TextField()
    enabled = models.BooleanField(db_default=False)
    description = models.TextField(null=True, blank=True)
    category = models.TextField(db_default="general")
    updated_at = TimestampField(db_column="updatedAt", auto_now=True)
    updated_by = models.TextField(db_column="updatedBy", null=True, blank=True)

    class Meta:
        db_table = "FeatureFlag"
        constraints = [UniqueIndex(name="FeatureFlag_key_key", fields=["key"])]
        indexes = [Index(name="FeatureFlag_key_idx", fields=["key"])]

    def __str__(self) -> str:
        return self.key


class EmailTemplate(models.Model):
    """The text of an email that the gateway sends."""

    id = CuidField()
    name = models.TextField()
    subject = models.TextField()
    body = models.TextField()
    updated_at = TimestampField(db_column="updatedAt", auto_now=True)
    updated_by = models.TextField(db_column="updatedBy", null=True, blank=True)

    class Meta:
        db_table = "EmailTemplate"
        constraints = [UniqueIndex(name="EmailTemplate_name_key", fields=["name"])]

    def __str__(self) -> str:
        return self.name


class StripeEvent(models.Model):
    """A webhook call from Stripe that the gateway has processed, kept so that it is processed only once."""

    id = CuidField()
    event_id = models.TextField(db_column="eventId")
    type = models.TextField()
    processed_at = TimestampField(db_column="processedAt", db_default=CurrentTimestamp(), editable=False)
    payload = models.JSONField(null=True, blank=True)

    class Meta:
        db_table = "StripeEvent"
        constraints = [UniqueIndex(name="StripeEvent_eventId_key", fields=["event_id"])]
        indexes = [
            Index(name="StripeEvent_eventId_idx", fields=["event_id"]),
            Index(name="StripeEvent_processedAt_idx", fields=["processed_at"]),
            Index(name="StripeEvent_type_idx", fields=["type"]),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class AuditLog(models.Model):
    """A record of who did what to which row. Both applications add rows, and neither changes them."""

    id = CuidField()
    action = models.TextField()
    entity_type = models.TextField(db_column="entityType")
    entity_id = models.TextField(db_column="entityId")
    details = models.JSONField(null=True, blank=True)
    performed_by = models.TextField(db_column="performedBy", null=True, blank=True)
    created_at = TimestampField(db_column="createdAt", db_default=CurrentTimestamp(), editable=False)

    class Meta:
        db_table = "AuditLog"
        indexes = [
            Index(name="AuditLog_action_idx", fields=["action"]),
            Index(name="AuditLog_createdAt_idx", fields=["created_at"]),
            Index(name="AuditLog_entityType_entityId_idx", fields=["entity_type", "entity_id"]),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.entity_type} {self.entity_id}"


class ReconciliationRun(models.Model):
    """The gateway's comparison of its members with Stripe and Discord."""

    id = CuidField()
    started_at = TimestampField(db_column="startedAt", db_default=CurrentTimestamp(), editable=False)
    completed_at = TimestampField(db_column="completedAt", null=True, blank=True)
    members_checked = models.IntegerField(db_column="membersChecked", db_default=0)
    teams_checked = models.IntegerField(db_column="teamsChecked", db_default=0)
    issues_found = models.IntegerField(db_column="issuesFound", db_default=0)
    issues_fixed = models.IntegerField(db_column="issuesFixed", db_default=0)
    auto_fix_enabled = models.BooleanField(db_column="autoFixEnabled", db_default=False)
    is_verification_run = models.BooleanField(db_column="isVerificationRun", db_default=False)
    triggered_by = models.TextField(db_column="triggeredBy")
    issues = models.JSONField(db_default=[])

    class Meta:
        db_table = "ReconciliationRun"
        indexes = [Index(name="ReconciliationRun_startedAt_idx", fields=["started_at"])]

    def __str__(self) -> str:
        return f"{self.triggered_by} {self.started_at:%Y-%m-%d %H:%M}"


class JobRun(models.Model):
    """One run of a scheduled job (council.jobs).

    The row of a run that has not ended is also the job's lease. Each job has at most one.
    """

    class Outcome(models.TextChoices):
        DONE = "DONE"
        FAILED = "FAILED"
        LOST = "LOST"

    job = models.TextField()
    started_at = TimestampField(db_column="startedAt")
    lease_until = TimestampField(db_column="leaseUntil")
    ended_at = TimestampField(db_column="endedAt", null=True)
    outcome = models.TextField(choices=Outcome, null=True)
    counts = models.JSONField()
    notes = models.JSONField()
    error = models.TextField(null=True)
    host = models.TextField()

    class Meta:
        db_table = "JobRun"
        constraints = [
            UniqueIndex(
                name="JobRun_job_running_key", fields=["job"], condition=models.Q(ended_at__isnull=True)
            )
        ]
        indexes = [Index(name="JobRun_job_startedAt_idx", fields=["job", "-started_at"])]

    def __str__(self) -> str:
        return f"{self.job} {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def seconds(self) -> float | None:
        """The duration of the run. None while it is running."""
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None

    @property
    def counted(self) -> str:
        """The run's counts as text."""
        return ", ".join(f"{count:,} {what}" for what, count in self.counts.items())


class FigureTable(models.Model):
    """The last computed table of a figure for staff (council.figures)."""

    figure = models.TextField(primary_key=True)
    computed_at = TimestampField(db_column="computedAt")
    table = models.JSONField()

    class Meta:
        db_table = "FigureTable"
        verbose_name = "figure"

    def __str__(self) -> str:
        return self.figure


class SignInFailures(models.Model):
    """The times that count against a limit (throttle.py). The key is the hash of an address, a name or an account."""

    key = models.CharField(max_length=64, primary_key=True)
    failures = models.IntegerField()
    forgotten_at = models.DateTimeField()
    failed_at = ArrayField(models.DateTimeField(), db_default=[])

    class Meta:
        db_table = "council_signinfailures"
        indexes = [Index(name="council_signinfailures_forgotten_at_idx", fields=["forgotten_at"])]

    def __str__(self) -> str:
        return f"{self.failures} until {self.forgotten_at:%H:%M:%S}"
