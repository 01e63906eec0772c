"""The admin pages for accounts and groups."""

from typing import Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from council import second_factor, throttle
from council.accounts.models import Account
from council.model_admin import ModelAdmin, NeverDeleted, presence


@admin.register(Account)
class AccountAdmin(NeverDeleted, ModelAdmin, UserAdmin):
    """Accounts. They are never deleted: to close one, make it inactive.

    Staff with permission to change accounts can do only that, and not to a superuser's account. Only superusers can
    give rights; the rights of the gateway's staff follow from their role (council/roles.py).
    """

    list_display = ("username", "member", "admin", "is_staff", "is_active", "last_login")
    list_select_related = ("member", "admin")
    list_filter = ("is_staff", "is_superuser", "is_active", "groups")
    search_fields = ("username", "member__email", "admin__email")
    ordering = ("username",)
    autocomplete_fields = ("member", "admin")
    readonly_fields = ("last_login", "created_at", "has_password")
    belongs_to: ClassVar[Any] = (
        "Belongs to",
        {"fields": ("member", "admin"), "description": "Choose one of the two, or neither."},
    )
    dates: ClassVar[Any] = ("Dates", {"fields": ("last_login", "created_at")})
    fieldsets = (
        (None, {"fields": ("username", "has_password")}),
        belongs_to,
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        dates,
    )
    fieldsets_of_staff: ClassVar[Any] = (
        (None, {"fields": ("username",)}),
        belongs_to,
        ("Permissions", {"fields": ("is_active", "is_staff", "is_superuser", "groups")}),
        dates,
    )

    actions = ("reset_second_factor",)

    @admin.action(description="Reset the second factor", permissions=["change"])
    def reset_second_factor(self, request: HttpRequest, queryset: models.QuerySet[Account]) -> None:
        """Make accounts set up a new app at the next sign-in. Only superusers can reset a superuser's account."""
        for account in queryset:
            if not self.has_change_permission(request, account):
                self.message_user(request, f"{account}: only superusers can reset it.", messages.ERROR)
            elif second_factor.reset(account=account, by=cast(Account, request.user)):
                self.message_user(
                    request, f"{account} must set up a new app at the next sign-in.", messages.SUCCESS
                )
            else:
                self.message_user(request, f"{account} has no second factor yet.", messages.WARNING)

    @admin.display(description="password")
    def has_password(self, account: Account) -> str:
        return presence(account.password if account.has_usable_password() else None)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj and not is_superuser(request):
            return self.fieldsets_of_staff
        return super().get_fieldsets(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if is_superuser(request):
            return super().get_readonly_fields(request, obj)
        return [name for name in flatten_fieldsets(self.fieldsets_of_staff) if name != "is_active"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_change = super().has_change_permission(request, obj)
        return may_change and (is_superuser(request) or not (obj and obj.is_superuser))

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:  # noqa: A002
        account = self.get_object(request, unquote(id))
        if not is_superuser(request) or (account and (account.member_id or account.admin_id)):
            raise PermissionDenied(
                "Only superusers can set passwords here, and only for accounts without a member and without an "
                "admin. The gateway stores the passwords of members and admins."
            )
        with transaction.atomic():
            if account and request.method == "POST":
                self._remember(request, account)
            with throttle.slot():
                return super().user_change_password(request, id, form_url)


# django-otp's own pages would show secret keys. An action on the list of accounts resets the devices instead.
admin.site.unregister([TOTPDevice, StaticDevice])
admin.site.unregister(Group)


@admin.register(Group)
class GroupAdminWithAuditLog(ModelAdmin, GroupAdmin):
    """Django's page for groups. Only superusers have permission to use it."""


def is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_superuser
