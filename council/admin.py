"""The admin pages for the gateway's tables and the runs of jobs."""

from typing import Any, ClassVar, cast

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from council import account_admin, figure_admin  # noqa: F401  # they register their pages
from council.accounts.models import Account
from council.forms import StaffSignInForm
from council.model_admin import MULTILINE, LogAdmin, ModelAdmin, ReadOnlyAdmin, presence, pretty
from council.models import (
    Admin,
    AuditLog,
    EmailTemplate,
    FeatureFlag,
    JobRun,
    Member,
    PendingInvite,
    ReconciliationRun,
    StripeEvent,
    Team,
)

admin.site.login_form = StaffSignInForm


class TeamMembers(admin.TabularInline):
    model = Member
    fields = readonly_fields = (
        "email",
        "subscription_status",
        "seat_tier",
        "is_team_admin",
        "is_primary_owner",
    )
    show_change_link = True
    can_delete = False
    max_num = 0
    ordering = ("first_name", "last_name", "id")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Team)
class TeamAdmin(ReadOnlyAdmin):
    list_display = ("name", "subscription_status", "owner_seat_count", "team_seat_count", "created_at")
    list_filter = ("subscription_status",)
    search_fields = ("name", "stripe_customer_id")
    ordering = ("name",)
    inlines = (TeamMembers,)
    fields = (
        "name",
        "subscription_status",
        "owner_seat_count",
        "team_seat_count",
        "stripe_customer_id",
        "stripe_subscription_id",
        "payment_failed_at",
        "debtor_state_ends_at",
        "grace_period_ends_at",
        "created_at",
        "updated_at",
    )


@admin.register(Member)
class MemberAdmin(ReadOnlyAdmin):
    list_display = ("name", "email", "subscription_status", "team", "total_points", "last_active_at")
    list_select_related = ("team",)
    list_filter = (
        "subscription_status",
        "seat_tier",
        "intro_completed",
        "is_in_debtor_state",
        "last_active_at",
    )
    search_fields = (
        "email",
        "first_name",
        "last_name",
        "company",
        "team__name",
        "discord_id",
        "discord_username",
    )
    search_help_text = "Search by name, email, company, team, Discord id or Discord name."
    ordering = ("-created_at",)
    secret_fields = ("password_hash",)
    fieldsets: ClassVar[Any] = (
        (
            None,
            {
                "fields": (
                    "email",
                    "first_name",
                    "last_name",
                    "company",
                    "job_title",
                    "linkedin_url",
                    "referral_source",
                )
            },
        ),
        ("Points", {"fields": ("total_points", "current_streak", "last_active_at")}),
        (
            "Seat",
            {
                "fields": (
                    "subscription_status",
                    "current_period_end",
                    "seat_tier",
                    "team",
                    "is_team_admin",
                    "is_primary_owner",
                    "stripe_customer_id",
                )
            },
        ),
        (
            "Missed payments",
            {
                "fields": (
                    "is_in_debtor_state",
                    "payment_failed_at",
                    "debtor_state_ends_at",
                    "grace_period_ends_at",
                    "previous_role",
                    "sent_billing_notifications",
                )
            },
        ),
        (
            "Discord",
            {
                "fields": (
                    "discord_id",
                    "discord_username",
                    "discord_avatar",
                    "intro_completed",
                    "intro_completed_at",
                    "intro_message_id",
                    "last_guidance_dm_at",
                )
            },
        ),
        ("Row", {"fields": ("created_at", "updated_at")}),
    )

    @admin.display(ordering="first_name")
    def name(self, member: Member) -> str:
        return str(member)


@admin.register(PendingInvite)
class PendingInviteAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "team", "seat_tier", "created_at", "accepted_at")
    list_select_related = ("team",)
    list_filter = ("seat_tier", ("accepted_at", admin.EmptyFieldListFilter))
    search_fields = ("invitee_email", "team__name")
    ordering = ("-created_at",)
    fields = (
        "invitee_email",
        "team",
        "seat_tier",
        "has_token",
        "created_at",
        "created_by",
        "accepted_at",
        "accepted_by",
    )
    secret_fields = ("token",)

    @admin.display(description="token")
    def has_token(self, invite: PendingInvite) -> str:
        return presence(invite.token)


@admin.register(Admin)
class AdminAdmin(ReadOnlyAdmin):
    list_display = ("email", "role", "last_login_at", "created_at")
    list_filter = ("role",)
    search_fields = ("email",)
    ordering = ("email",)
    fields = ("email", "role", "last_login_at", "created_at", "created_by", "updated_at")
    secret_fields = ("password_hash",)


class SignedAdmin(ModelAdmin):
    """Edit rows that the gateway looks up by a fixed name, and store who changed them."""

    stamped_fields = ("updated_by",)
    name_field: str

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("updated_by", "updated_at", *([self.name_field] if obj else []))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        account = cast(Account, request.user)
        obj.updated_by = account.staff_id
        super().save_model(request, obj, form, change)


@admin.register(FeatureFlag)
class FeatureFlagAdmin(SignedAdmin):
    list_display = ("key", "enabled", "category", "updated_at", "updated_by")
    list_filter = ("enabled", "category")
    search_fields = ("key", "description")
    ordering = ("category", "key")
    fields = ("key", "enabled", "category", "description", "updated_at", "updated_by")
    field_options = {"description": MULTILINE}
    name_field = "key"


@admin.register(EmailTemplate)
class EmailTemplateAdmin(SignedAdmin):
    list_display = ("name", "subject", "updated_at", "updated_by")
    search_fields = ("name", "subject")
    ordering = ("name",)
    fields = ("name", "subject", "body", "updated_at", "updated_by")
    field_options = {"body": {**MULTILINE, "strip": False}}
    name_field = "name"


@admin.register(StripeEvent)
class StripeEventAdmin(LogAdmin):
    list_display = ("event_id", "type", "processed_at")
    list_filter = ("processed_at",)
    search_fields = ("event_id__exact", "type")
    ordering = ("-processed_at",)
    sortable_by = ("processed_at",)
    fields = ("event_id", "type", "processed_at", "has_payload")
    secret_fields = ("payload",)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        is_there = models.ExpressionWrapper(models.Q(payload__isnull=False), models.BooleanField())
        rows: models.QuerySet[Any] = super().get_queryset(request)
        annotated: models.QuerySet[Any] = rows.defer("payload").annotate(payload_is_there=is_there)
        return annotated

    @admin.display(description="payload")
    def has_payload(self, event: Any) -> str:
        return presence(event.payload_is_there or None)


@admin.register(AuditLog)
class AuditLogAdmin(LogAdmin):
    list_display = ("created_at", "action", "entity_type", "entity_id", "performed_by")
    list_filter = ("created_at",)
    search_fields = ("action", "entity_id__exact", "performed_by__exact")
    ordering = ("-created_at",)
    sortable_by = ("created_at",)
    fields = ("created_at", "action", "entity_type", "entity_id", "performed_by", "pretty_details")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).defer("details")

    @admin.display(description="details")
    def pretty_details(self, entry: AuditLog) -> str | None:
        return pretty(entry.details)


@admin.register(ReconciliationRun)
class ReconciliationRunAdmin(LogAdmin):
    list_display = ("started_at", "completed_at", "triggered_by", "issues_found", "issues_fixed")
    list_filter = ("started_at", "is_verification_run")
    search_fields = ("triggered_by",)
    ordering = ("-started_at",)
    sortable_by = ("started_at",)
    fields = (
        "started_at",
        "completed_at",
        "triggered_by",
        "is_verification_run",
        "auto_fix_enabled",
        "members_checked",
        "teams_checked",
        "issues_found",
        "issues_fixed",
        "pretty_issues",
    )

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).defer("issues")

    @admin.display(description="issues")
    def pretty_issues(self, run: ReconciliationRun) -> str | None:
        return pretty(run.issues)


@admin.register(JobRun)
class JobRunAdmin(LogAdmin):
    list_display = ("job", "result", "started_at", "took", "host")
    list_filter = ("job", "outcome")
    search_fields = ("job", "host", "error")
    ordering = ("-started_at",)
    sortable_by = ("started_at",)
    fields = (
        "job",
        "started_at",
        "ended_at",
        "took",
        "result",
        "error",
        "counted",
        "remarks",
        "host",
        "lease_until",
    )

    @admin.display(description="result")
    def result(self, run: JobRun) -> str:
        return JobRun.Outcome(run.outcome).label if run.outcome else "running"

    @admin.display(description="seconds")
    def took(self, run: JobRun) -> str:
        return "" if run.seconds is None else f"{run.seconds:,.1f}"

    @admin.display(description="notes")
    def remarks(self, run: JobRun) -> str:
        return "\n".join(run.notes)
