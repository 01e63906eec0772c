"""The admin pages of accounts and of the gateway's tables, and what all admin pages have in common."""

import json
from functools import cached_property
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm, UsernameField
from django.core.paginator import Paginator
from django.db import models
from django.db.models.fields import NOT_PROVIDED
from django.http import HttpRequest
from django.utils.html import format_html

from council.models import (
    Account,
    Admin,
    AuditLog,
    EmailTemplate,
    FeatureFlag,
    Member,
    PendingInvite,
    ReconciliationRun,
    StripeEvent,
    Team,
)


class MultilineField(forms.CharField):
    """Text whose lines end with LF, as the gateway stores them. Browsers send CRLF."""

    widget = AdminTextareaWidget

    def to_python(self, value: Any) -> Any:
        return super().to_python(value.replace("\r\n", "\n") if isinstance(value, str) else value)


MULTILINE: dict[str, Any] = {"form_class": MultilineField, "widget": AdminTextareaWidget}


def pretty(value: Any) -> str | None:
    """Show JSON as indented text."""
    return (
        None
        if value is None
        else format_html("<pre>{}</pre>", json.dumps(value, indent=2, ensure_ascii=False))
    )


class ModelAdmin(admin.ModelAdmin):
    """Edit rows that the gateway writes too: what the form did not change is not written.

    Each field comes with a hidden copy of the value that was shown. "Changed" is what differs from that
    copy, not from the row as it is by the time the form is sent.
    """

    formfield_overrides = {models.TextField: {"widget": AdminTextInputWidget}}
    # By field: what its form field is made with.
    field_options: dict[str, dict[str, Any]] = {}
    # Fields that a query string must not search: `?password_hash__startswith=` would spell the hash out.
    secret_fields: tuple[str, ...] = ()
    # Fields that save_model fills itself.
    stamped_fields: tuple[str, ...] = ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs |= self.field_options.get(db_field.name, {})
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is None:
            return None
        field.show_hidden_initial = not db_field.many_to_many
        if isinstance(field, forms.CharField) and db_field.null:
            # A unique column takes one "" and any number of NULLs. Django cares for CharField only.
            field.empty_value = None
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Fill the form of a new row with what the database would."""
        defaults = {
            field.name: field.db_default
            for field in self.opts.concrete_fields
            if field.db_default is not NOT_PROVIDED and not hasattr(field.db_default, "resolve_expression")
        }
        return {**defaults, **super().get_changeform_initial_data(request)}

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave what cannot be edited out of the form of a new row, which has no values to show."""
        fieldsets = super().get_fieldsets(request, obj)
        if obj is not None:
            return fieldsets
        hidden = set(self.get_readonly_fields(request, obj))
        shown = [
            (name, {**options, "fields": [field for field in options["fields"] if field not in hidden]})
            for name, options in fieldsets
        ]
        return [(name, options) for name, options in shown if options["fields"]]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        if not change:
            super().save_model(request, obj, form, change)
        elif form.changed_data:
            names = {*form.changed_data, *self.stamped_fields}
            obj.save(
                update_fields=[
                    field.name
                    for field in obj._meta.concrete_fields
                    if field.name in names or getattr(field, "auto_now", False)
                ]
            )

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Refuse secrets, and what leads from other tables here, such as ?benchmark_submissions=<id>."""
        name = lookup.split("__", maxsplit=1)[0]
        others = {relation.name for relation in self.opts.related_objects}
        if name in others or name in self.secret_fields or "\0" in str(value):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        return None if "\0" in object_id else super().get_object(request, object_id, from_field)


class NeverDeleted(admin.ModelAdmin):
    """The database would cascade where Django's confirmation shows nothing, so deleting is the gateway's."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(NeverDeleted, ModelAdmin):
    """Show rows, whatever permissions there are. `fields` is what the page of a row shows."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields or ()


class BoundedPaginator(Paginator):
    """Count and show no more than the first 10,000 rows, so that no page costs a scan of a long table."""

    max_rows = 10_000

    @cached_property
    def count(self) -> int:
        rows: models.QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: self.max_rows].count()


class LogAdmin(ReadOnlyAdmin):
    """Show a table that only grows, newest first, fast at any length. Order by an indexed column."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_help_text = (
        f"The newest {BoundedPaginator.max_rows:,} are listed. Search or filter for older ones."
    )


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
class TeamAdmin(NeverDeleted, ModelAdmin):
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
    readonly_fields = ("created_at", "updated_at")


@admin.register(Member)
class MemberAdmin(NeverDeleted, ModelAdmin):
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
    search_help_text = "Name, email, company, team, Discord id or name."
    ordering = ("-created_at",)
    autocomplete_fields = ("team",)
    field_options = {"email": {"form_class": forms.EmailField}}
    secret_fields = ("password_hash",)
    readonly_fields: ClassVar[tuple[str, ...]] = (
        "total_points",
        "current_streak",
        "last_active_at",
        "sent_billing_notifications",
        "created_at",
        "updated_at",
    )
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
        "masked_token",
        "created_at",
        "created_by",
        "accepted_at",
        "accepted_by",
    )
    secret_fields = ("token",)

    @admin.display(description="token")
    def masked_token(self, invite: PendingInvite) -> str:
        return f"{invite.token[:4]}…" if len(invite.token) >= 16 else "…"


@admin.register(Admin)
class AdminAdmin(ReadOnlyAdmin):
    list_display = ("email", "role", "last_login_at", "created_at")
    list_filter = ("role",)
    search_fields = ("email",)
    ordering = ("email",)
    fields = ("email", "role", "last_login_at", "created_at", "created_by", "updated_at")
    secret_fields = ("password_hash",)


class SignedAdmin(ModelAdmin):
    """Edit what the gateway finds by a fixed name, and sign the change."""

    stamped_fields = ("updated_by",)
    name_field: str

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ("updated_by", "updated_at", *([self.name_field] if obj else []))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: Any) -> None:
        account = cast(Account, request.user)
        obj.updated_by = account.admin_id or account.username
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
    fields = ("event_id", "type", "processed_at", "pretty_payload")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).defer("payload")

    @admin.display(description="payload")
    def pretty_payload(self, event: StripeEvent) -> str | None:
        return pretty(event.payload)


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


class AccountCreationForm(AdminUserCreationForm):
    class Meta:
        model = Account
        fields = ("username",)
        field_classes = {"username": UsernameField}


class AccountChangeForm(UserChangeForm):
    class Meta:
        model = Account
        fields = "__all__"
        field_classes = {"username": UsernameField}


@admin.register(Account)
class AccountAdmin(NeverDeleted, ModelAdmin, UserAdmin):
    """Rows outlive the person; an account is closed by making it inactive."""

    form = AccountChangeForm
    add_form = AccountCreationForm
    list_display = ("username", "member", "admin", "is_staff", "is_active", "last_login")
    list_select_related = ("member", "admin")
    list_filter = ("is_staff", "is_superuser", "is_active", "groups")
    search_fields = ("username", "member__email", "admin__email")
    ordering = ("username",)
    autocomplete_fields = ("member", "admin")
    readonly_fields = ("last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Belongs to", {"fields": ("member", "admin"), "description": "One of the two, or neither."}),
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("Dates", {"fields": ("last_login", "created_at")}),
    )
