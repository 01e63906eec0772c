"""The nine tables of the gateway: taken over where they are, built where there is nothing.

What its own tool has made of version 2 is taken over with them; what differs, and means the same, is replaced.
Locks: none on tables that are there, unless something is replaced: then SHARE UPDATE EXCLUSIVE while an index is built,
and ACCESS EXCLUSIVE for an instant where a constraint or a key gives way.
Safe with the code before it: yes, nothing changes. Way back: drops the tables, and refuses while they hold rows.
"""

from pathlib import Path

import django.contrib.postgres.fields
from django.db import migrations, models

from council import zero_downtime
from council.postgres import constraints, fields, indexes

# What 0001 builds, and finds where the gateway built it, as `zero_downtime.baseline.format_manifest` writes it.
MANIFEST = Path(__file__).with_name("v1.catalog")
# What the gateway's own tool makes of it by the plan for version 2, any part of which may be there.
TOWARDS = Path(__file__).with_name("v2.catalog")

OVERFLOWING = """
SELECT "memberId", coalesce(to_char("createdAt", ' in YYYY-MM'), ''), sum(points)
  FROM (SELECT "memberId", date_trunc('month', "createdAt") AS "createdAt", points FROM "PointTransaction") AS entries
 GROUP BY GROUPING SETS (("memberId"), ("memberId", "createdAt"))
HAVING sum(points) NOT BETWEEN -2147483648 AND 2147483647
 ORDER BY 1, 2
 LIMIT 10
"""


class Migration(migrations.Migration):
    atomic = False
    initial = True
    dependencies = []
    # Nothing is written, by Django's apps either, before the database is known to be the right one.
    run_before = [("contenttypes", "0001_initial"), ("sessions", "0001_initial")]
    operations = [
        # squawk: ignore prefer-robust-stmts: what is there is found first, and then nothing of this is run
        # squawk: ignore adding-foreign-key-constraint: the tables are new where this is run
        # squawk: ignore constraint-missing-not-valid: the tables are new where this is run
        # squawk: ignore require-concurrent-index-creation: the tables are new where this is run
        zero_downtime.AdoptBaseline(
            manifest=MANIFEST.read_text(),
            towards=TOWARDS.read_text(),
            row_rules=[
                zero_downtime.RowRule(
                    tables=["PointTransaction"],
                    query=OVERFLOWING,
                    line='overflow   column Member.totalPoints: {2} points of member "{0}"{1} are beyond an integer',
                ),
            ],
            operations=[
                zero_downtime.CreateEnum(
                    name="AdminRole",
                    labels=["ADMIN", "SUPER_ADMIN"],
                ),
                zero_downtime.CreateEnum(
                    name="SeatTier",
                    labels=["INDIVIDUAL", "OWNER", "TEAM_MEMBER"],
                ),
                zero_downtime.CreateEnum(
                    name="SubscriptionStatus",
                    labels=["NONE", "TRIALING", "ACTIVE", "PAST_DUE", "CANCELLED"],
                ),
                migrations.CreateModel(
                    name="Team",
                    fields=[
                        ("id", fields.CuidField(serialize=False)),
                        ("name", models.TextField()),
                        ("stripe_customer_id", models.TextField(db_column="stripeCustomerId")),
                        (
                            "stripe_subscription_id",
                            models.TextField(blank=True, db_column="stripeSubscriptionId", null=True),
                        ),
                        (
                            "subscription_status",
                            fields.EnumField(
                                db_column="subscriptionStatus", db_default="NONE", enum="SubscriptionStatus"
                            ),
                        ),
                        ("owner_seat_count", models.IntegerField(db_column="ownerSeatCount", db_default=0)),
                        ("team_seat_count", models.IntegerField(db_column="teamSeatCount", db_default=0)),
                        (
                            "created_at",
                            fields.TimestampField(
                                db_column="createdAt", db_default=fields.CurrentTimestamp(), editable=False
                            ),
                        ),
                        ("updated_at", fields.TimestampField(auto_now=True, db_column="updatedAt")),
                        (
                            "debtor_state_ends_at",
                            fields.TimestampField(blank=True, db_column="debtorStateEndsAt", null=True),
                        ),
                        (
                            "grace_period_ends_at",
                            fields.TimestampField(blank=True, db_column="gracePeriodEndsAt", null=True),
                        ),
                        (
                            "payment_failed_at",
                            fields.TimestampField(blank=True, db_column="paymentFailedAt", null=True),
                        ),
                    ],
                    options={
                        "db_table": "Team",
                        "constraints": [
                            indexes.UniqueIndex(
                                fields=("stripe_customer_id",), name="Team_stripeCustomerId_key"
                            ),
                            indexes.UniqueIndex(
                                fields=("stripe_subscription_id",), name="Team_stripeSubscriptionId_key"
                            ),
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="Member",
                    fields=[
                        ("id", fields.CuidField(serialize=False)),
                        ("discord_id", models.TextField(blank=True, db_column="discordId", null=True)),
                        (
                            "discord_username",
                            models.TextField(blank=True, db_column="discordUsername", null=True),
                        ),
                        (
                            "discord_avatar",
                            models.TextField(blank=True, db_column="discordAvatar", null=True),
                        ),
                        (
                            "stripe_customer_id",
                            models.TextField(blank=True, db_column="stripeCustomerId", null=True),
                        ),
                        ("email", models.TextField(blank=True, null=True)),
                        ("first_name", models.TextField(blank=True, db_column="firstName", null=True)),
                        ("last_name", models.TextField(blank=True, db_column="lastName", null=True)),
                        ("company", models.TextField(blank=True, null=True)),
                        ("job_title", models.TextField(blank=True, db_column="jobTitle", null=True)),
                        (
                            "linkedin_url",
                            models.TextField(
                                blank=True, db_column="linkedInUrl", null=True, verbose_name="LinkedIn URL"
                            ),
                        ),
                        (
                            "referral_source",
                            models.TextField(blank=True, db_column="referralSource", null=True),
                        ),
                        (
                            "subscription_status",
                            fields.EnumField(
                                db_column="subscriptionStatus", db_default="NONE", enum="SubscriptionStatus"
                            ),
                        ),
                        (
                            "seat_tier",
                            fields.EnumField(blank=True, db_column="seatTier", enum="SeatTier", null=True),
                        ),
                        (
                            "current_period_end",
                            fields.TimestampField(blank=True, db_column="currentPeriodEnd", null=True),
                        ),
                        (
                            "intro_completed",
                            models.BooleanField(db_column="introCompleted", db_default=False),
                        ),
                        (
                            "intro_completed_at",
                            fields.TimestampField(blank=True, db_column="introCompletedAt", null=True),
                        ),
                        (
                            "intro_message_id",
                            models.TextField(blank=True, db_column="introMessageId", null=True),
                        ),
                        (
                            "team",
                            models.ForeignKey(
                                blank=True,
                                db_column="teamId",
                                db_constraint=False,
                                db_index=False,
                                null=True,
                                on_delete=models.DO_NOTHING,
                                related_name="members",
                                to="council.team",
                            ),
                        ),
                        ("is_team_admin", models.BooleanField(db_column="isTeamAdmin", db_default=False)),
                        (
                            "created_at",
                            fields.TimestampField(
                                db_column="createdAt", db_default=fields.CurrentTimestamp(), editable=False
                            ),
                        ),
                        ("updated_at", fields.TimestampField(auto_now=True, db_column="updatedAt")),
                        (
                            "password_hash",
                            models.TextField(blank=True, db_column="passwordHash", editable=False, null=True),
                        ),
                        (
                            "last_guidance_dm_at",
                            fields.TimestampField(blank=True, db_column="lastGuidanceDmAt", null=True),
                        ),
                        (
                            "is_primary_owner",
                            models.BooleanField(db_column="isPrimaryOwner", db_default=False),
                        ),
                        (
                            "debtor_state_ends_at",
                            fields.TimestampField(blank=True, db_column="debtorStateEndsAt", null=True),
                        ),
                        (
                            "grace_period_ends_at",
                            fields.TimestampField(blank=True, db_column="gracePeriodEndsAt", null=True),
                        ),
                        (
                            "is_in_debtor_state",
                            models.BooleanField(db_column="isInDebtorState", db_default=False),
                        ),
                        (
                            "payment_failed_at",
                            fields.TimestampField(blank=True, db_column="paymentFailedAt", null=True),
                        ),
                        ("previous_role", models.TextField(blank=True, db_column="previousRole", null=True)),
                        (
                            "sent_billing_notifications",
                            django.contrib.postgres.fields.ArrayField(
                                base_field=models.TextField(),
                                blank=True,
                                db_column="sentBillingNotifications",
                                db_default=fields.EmptyTextArray(),
                                null=True,
                                size=None,
                            ),
                        ),
                    ],
                    options={
                        "db_table": "Member",
                        "indexes": [
                            indexes.Index(
                                fields=["subscription_status"], name="Member_subscriptionStatus_idx"
                            ),
                            indexes.Index(fields=["team"], name="Member_teamId_idx"),
                        ],
                        "constraints": [
                            indexes.UniqueIndex(fields=("discord_id",), name="Member_discordId_key"),
                            indexes.UniqueIndex(fields=("email",), name="Member_email_key"),
                            indexes.UniqueIndex(
                                fields=("stripe_customer_id",), name="Member_stripeCustomerId_key"
                            ),
                            constraints.ForeignKeyConstraint(
                                field="team",
                                name="Member_teamId_fkey",
                                on_delete="SET NULL",
                                on_update="CASCADE",
                            ),
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="PendingInvite",
                    fields=[
                        ("id", fields.CuidField(serialize=False)),
                        (
                            "team",
                            models.ForeignKey(
                                db_column="teamId",
                                db_constraint=False,
                                db_index=False,
                                on_delete=models.DO_NOTHING,
                                related_name="pending_invites",
                                to="council.team",
                            ),
                        ),
                        ("seat_tier", fields.EnumField(db_column="seatTier", enum="SeatTier")),
                        ("token", models.TextField()),
                        ("accepted_at", fields.TimestampField(blank=True, db_column="acceptedAt", null=True)),
                        ("accepted_by", models.TextField(blank=True, db_column="acceptedBy", null=True)),
                        (
                            "created_at",
                            fields.TimestampField(
                                db_column="createdAt", db_default=fields.CurrentTimestamp(), editable=False
                            ),
                        ),
                        ("created_by", models.TextField(db_column="createdBy")),
                        ("invitee_email", models.TextField(blank=True, db_column="inviteeEmail", null=True)),
                    ],
                    options={
                        "db_table": "PendingInvite",
                        "indexes": [
                            indexes.Index(fields=["team"], name="PendingInvite_teamId_idx"),
                            indexes.Index(fields=["token"], name="PendingInvite_token_idx"),
                        ],
                        "constraints": [
                            indexes.UniqueIndex(fields=("token",), name="PendingInvite_token_key"),
                            constraints.ForeignKeyConstraint(
                                field="team",
                                name="PendingInvite_teamId_fkey",
                                on_delete="RESTRICT",
                                on_update="CASCADE",
                            ),
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="Admin",
                    fields=[
                        ("id", fields.CuidField(serialize=False)),
                        ("email", models.TextField()),
                        ("password_hash", models.TextField(db_column="passwordHash", editable=False)),
                        ("role", fields.EnumField(db_default="ADMIN", enum="AdminRole")),
                        (
                            "last_login_at",
                            fields.TimestampField(blank=True, db_column="lastLoginAt", null=True),
                        ),
                        (
                            "created_at",
                            fields.TimestampField(
                                db_column="createdAt", db_default=fields.CurrentTimestamp(), editable=False
                            ),
                        ),
                        ("updated_at", fields.TimestampField(auto_now=True, db_column="updatedAt")),
                        ("created_by", models.TextField(blank=True, db_column="createdBy", null=True)),
                    ],
                    options={
                        "db_table": "Admin",
                        "indexes": [indexes.Index(fields=["email"], name="Admin_email_idx")],
                        "constraints": [indexes.UniqueIndex(fields=("email",), name="Admin_email_key")],
                    },
                ),
                migrations.CreateModel(
                    name="FeatureFlag",
                    fields=[
                        ("id", fields.CuidField(serialize=False)),
                        ("key", models.TextField()),
                        ("enabled", models.BooleanField(db_default=False)),
                        ("description", models.TextField(blank=True, null=True)),
                        ("category", models.TextField(db_default="general")),
                        ("updated_at", fields.TimestampField(auto_now=True, db_column="updatedAt")),
                        ("updated_by", models.TextField(blank=True, db_column="updatedBy", null=True)),
                    ],
                    options={
                        "db_table": "FeatureFlag",
                        "indexes": [indexes.Index(fields=["key"], name="FeatureFlag_key_idx")],
                        "constraints": [indexes.UniqueIndex(fields=("key",), name="FeatureFlag_key_key")],
                    },
                ),
                migrations.CreateModel(
                    name="EmailTemplate",
                    fields=[
                        ("id", fields.CuidField(serialize=False)),
                        ("name", models.TextField()),
                        ("subject", models.TextField()),
                        ("body", models.TextField()),
                        ("updated_at", fields.TimestampField(auto_now=True, db_column="updatedAt")),
                        ("updated_by", models.TextField(blank=True, db_column="updatedBy", null=True)),
                    ],
                    options={
                        "db_table": "EmailTemplate",
                        "constraints": [indexes.UniqueIndex(fields=("name",), name="EmailTemplate_name_key")],
                    },
                ),
                migrations.CreateModel(
                    name="StripeEvent",
                    fields=[
                        ("id", fields.CuidField(serialize=False)),
                        ("event_id", models.TextField(db_column="eventId")),
                        ("type", models.TextField()),
                        (
                            "processed_at",
                            fields.TimestampField(
                                db_column="processedAt", db_default=fields.CurrentTimestamp(), editable=False
                            ),
                        ),
                        ("payload", models.JSONField(blank=True, null=True)),
                    ],
                    options={
                        "db_table": "StripeEvent",
                        "indexes": [
                            indexes.Index(fields=["event_id"], name="StripeEvent_eventId_idx"),
                            indexes.Index(fields=["processed_at"], name="StripeEvent_processedAt_idx"),
                            indexes.Index(fields=["type"], name="StripeEvent_type_idx"),
                        ],
                        "constraints": [
                            indexes.UniqueIndex(fields=("event_id",), name="StripeEvent_eventId_key")
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="AuditLog",
                    fields=[
                        ("id", fields.CuidField(serialize=False)),
                        ("action", models.TextField()),
                        ("entity_type", models.TextField(db_column="entityType")),
                        ("entity_id", models.TextField(db_column="entityId")),
                        ("details", models.JSONField(blank=True, null=True)),
                        ("performed_by", models.TextField(blank=True, db_column="performedBy", null=True)),
                        (
                            "created_at",
                            fields.TimestampField(
                                db_column="createdAt", db_default=fields.CurrentTimestamp(), editable=False
                            ),
                        ),
                    ],
                    options={
                        "db_table": "AuditLog",
                        "indexes": [
                            indexes.Index(fields=["action"], name="AuditLog_action_idx"),
                            indexes.Index(fields=["created_at"], name="AuditLog_createdAt_idx"),
                            indexes.Index(
                                fields=["entity_type", "entity_id"], name="AuditLog_entityType_entityId_idx"
                            ),
                        ],
                    },
                ),
                migrations.CreateModel(
                    name="ReconciliationRun",
                    fields=[
                        ("id", fields.CuidField(serialize=False)),
                        (
                            "started_at",
                            fields.TimestampField(
                                db_column="startedAt", db_default=fields.CurrentTimestamp(), editable=False
                            ),
                        ),
                        (
                            "completed_at",
                            fields.TimestampField(blank=True, db_column="completedAt", null=True),
                        ),
                        ("members_checked", models.IntegerField(db_column="membersChecked", db_default=0)),
                        ("teams_checked", models.IntegerField(db_column="teamsChecked", db_default=0)),
                        ("issues_found", models.IntegerField(db_column="issuesFound", db_default=0)),
                        ("issues_fixed", models.IntegerField(db_column="issuesFixed", db_default=0)),
                        (
                            "auto_fix_enabled",
                            models.BooleanField(db_column="autoFixEnabled", db_default=False),
                        ),
                        (
                            "is_verification_run",
                            models.BooleanField(db_column="isVerificationRun", db_default=False),
                        ),
                        ("triggered_by", models.TextField(db_column="triggeredBy")),
                        ("issues", models.JSONField(db_default=[])),
                    ],
                    options={
                        "db_table": "ReconciliationRun",
                        "indexes": [
                            indexes.Index(fields=["started_at"], name="ReconciliationRun_startedAt_idx")
                        ],
                    },
                ),
            ],
        ),
    ]
