"""The admin pages of the ledger and of Discord activity, and the members' page with points to adjust."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from council.admin import MemberAdmin
from council.model_admin import LogAdmin, pretty
from council.models import Account, Member
from gamification import ledger
from gamification.forms import AdjustPointsForm
from gamification.models import Action, DiscordActivity, PointTransaction

admin.site.unregister(Member)


@admin.register(Member)
class MemberWithPointsAdmin(MemberAdmin):
    """council's page of members, with what council cannot know: the ledger."""

    actions = ("adjust_points",)
    max_members_adjusted = 500
    readonly_fields = (*MemberAdmin.readonly_fields, "ledger_rows")
    fieldsets = tuple(
        (name, {"fields": (*options["fields"], "ledger_rows")}) if name == "Points" else (name, options)
        for name, options in MemberAdmin.fieldsets
    )

    @admin.display(description="ledger")
    def ledger_rows(self, member: Member) -> str:
        page = reverse(
            "admin:gamification_pointtransaction_changelist", query={"member__id__exact": member.pk}
        )
        return format_html('<a href="{}">Every row of the member</a>', page)

    def has_adjust_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("gamification.add_pointtransaction")

    @admin.action(description="Adjust points", permissions=["adjust"])
    def adjust_points(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        """Show the form, or what it would do (`preview`), or do it (`record`)."""
        is_sent = "preview" in request.POST or "record" in request.POST
        # The page's own list: filters of the list of members may let fewer through than a moment ago.
        ids = request.POST.getlist(ACTION_CHECKBOX_NAME) if is_sent else queryset.values_list("pk", flat=True)
        members = list(Member.objects.filter(pk__in=ids).order_by("first_name", "last_name", "pk"))
        if len(members) > self.max_members_adjusted:
            fault = f"{len(members)} members are too many. Select at most {self.max_members_adjusted}."
            self.message_user(request, fault, messages.ERROR)
            return None
        if len(members) < len(set(ids)):
            self.message_user(request, "Some of the members no longer exist. Select again.", messages.ERROR)
            return None

        form = AdjustPointsForm(request.POST if is_sent else None)
        if form.is_valid():
            points = form.cleaned_data["points"]
            try:
                if "record" in request.POST:
                    rows = ledger.adjust(
                        members=members, performed_by=cast(Account, request.user), **form.cleaned_data
                    )
                    done = (
                        f"{points:+,} points recorded for {len(rows)} member{'' if len(rows) == 1 else 's'}."
                    )
                    self.message_user(request, done, messages.SUCCESS)
                    return None
                ledger.check_totals(members=members, points=points)
            except ledger.AlreadyAdjusted as error:
                self.message_user(request, str(error), messages.WARNING)
                return None
            except ledger.Refused as error:
                form.add_error(None, str(error))

        points = form.cleaned_data.get("points") if is_sent else None
        context = {
            **self.admin_site.each_context(request),
            "title": "Adjust points",
            "opts": self.opts,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "form": form,
            "points": points,
            "totals": [(member, member.total_points + points if points else None) for member in members],
            "media": self.media,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "gamification/adjust_points.html", context)


class ActionFilter(admin.SimpleListFilter):
    """The known actions; a DISTINCT would read the whole ledger."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(action.value, str(action.label)) for action in Action]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(PointTransaction)
class PointTransactionAdmin(LogAdmin):
    list_display = ("created_at", "member", "action", "points", "reason")
    list_select_related = ("member",)
    list_filter = (ActionFilter, "created_at")
    search_fields = ("member__email", "member__first_name", "member__last_name", "member__company")
    ordering = ("-created_at",)
    sortable_by = ("created_at",)
    fields = ("created_at", "member", "action", "points", "reason", "pretty_metadata")

    @admin.display(description="metadata")
    def pretty_metadata(self, row: PointTransaction) -> str | None:
        return pretty(row.metadata)


@admin.register(DiscordActivity)
class DiscordActivityAdmin(LogAdmin):
    list_display = ("synced_at", "member", "activity_type", "xp_delta", "xp_total")
    list_select_related = ("member",)
    list_filter = ("activity_type", "synced_at")
    search_fields = ("discord_id__exact", "member__email", "member__first_name", "member__last_name")
    ordering = ("-synced_at",)
    sortable_by = ("synced_at",)
    fields = ("synced_at", "member", "discord_id", "activity_type", "xp_delta", "xp_total")
