"""Admin pages for the ledger, point rules and Discord activity, and the adjustment of members' points."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html

from council.accounts.models import Account
from council.admin import MemberAdmin, SignedAdmin
from council.model_admin import LogAdmin, NeverDeleted, pretty
from council.models import Member
from gamification import ledger
from gamification.forms import AdjustPointsForm, ReasonForm
from gamification.models import Action, DiscordActivity, PointRule, PointTransaction

admin.site.unregister(Member)


def ledger_of(member: Member) -> str:
    """Return the URL of a member's ledger rows."""
    return reverse("admin:gamification_pointtransaction_changelist", query={"member__id__exact": member.pk})


@admin.register(Member)
class MemberWithPointsAdmin(MemberAdmin):
    """The members' admin page of `council`, extended by the ledger."""

    actions = ("adjust_points",)
    max_members_adjusted = 500
    fieldsets = tuple(
        (name, {"fields": (*options["fields"], "ledger_rows")}) if name == "Points" else (name, options)
        for name, options in MemberAdmin.fieldsets
    )

    @admin.display(description="ledger")
    def ledger_rows(self, member: Member) -> str:
        return format_html('<a href="{}">All ledger rows of this member</a>', ledger_of(member))

    def has_adjust_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("gamification.add_pointtransaction")

    @admin.action(description="Adjust points", permissions=["adjust"])
    def adjust_points(self, request: HttpRequest, queryset: QuerySet[Member]) -> HttpResponse | None:
        """Show the form, preview its effect (`preview`), or record it (`record`)."""
        is_sent = "preview" in request.POST or "record" in request.POST
        # Take the members named in the form: the filters of the list may match fewer members by now.
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


# Staff review benchmark answers without knowing whose they are. The times of these rows would reveal it.
CONFIDENTIAL = (Action.BENCHMARK_SUBMISSION,)


class ActionFilter(admin.SimpleListFilter):
    """A filter by the known actions. A DISTINCT would read the whole ledger."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(action.value, str(action.label)) for action in Action if action not in CONFIDENTIAL]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(PointTransaction)
class PointTransactionAdmin(LogAdmin):
    """The ledger, read-only, with a page to reverse an entry. Points for benchmark answers are left out."""

    list_display = ("created_at", "member", "action", "points", "reason", "reverses")
    list_select_related = ("member", "reverses")
    list_filter = (ActionFilter, "created_at")
    search_fields = ("member__email",)  # shows the search box; get_search_results searches
    search_help_text = (
        "A member's exact email or id, or an entry's id. Points for benchmark answers are not listed, because they "
        f"would reveal whose answers are whose. {LogAdmin.search_help_text}"
    )
    ordering = ("-created_at",)
    sortable_by = ("created_at",)
    fields = (
        "created_at",
        "member",
        "action",
        "points",
        "reason",
        "reverses",
        "idempotency_key",
        "pretty_metadata",
    )
    change_form_template = "gamification/entry.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[PointTransaction]:
        return super().get_queryset(request).exclude(action__in=CONFIDENTIAL)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search indexed columns only. A condition over two tables at once would read the whole ledger."""
        if not search_term:
            return queryset, False
        members = Member.objects.filter(Q(email=search_term) | Q(pk=search_term))
        ids = list(members.values_list("pk", flat=True))
        return queryset.filter(Q(member_id__in=ids) | Q(pk=search_term)), False

    @admin.display(description="metadata")
    def pretty_metadata(self, row: PointTransaction) -> str | None:
        return pretty(row.metadata)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.reverse_entry)
        name = "gamification_pointtransaction_reverse"
        return [path("<path:object_id>/reverse/", view, name=name), *super().get_urls()]

    def has_reverse_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("gamification.add_pointtransaction")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        context = {"has_reverse_permission": self.has_reverse_permission(request), **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def reverse_entry(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the effect of reversing an entry, or reverse it."""
        if not self.has_reverse_permission(request):
            raise PermissionDenied
        entry: PointTransaction | None = self.get_object(request, object_id)
        if entry is None:
            raise Http404
        form = ReasonForm(request.POST or None)
        if form.is_valid():
            try:
                ledger.reverse(
                    entry_id=entry.pk,
                    reason=form.cleaned_data["reason"],
                    performed_by=cast(Account, request.user),
                )
            except ledger.AlreadyReversed as error:
                self.message_user(request, str(error), messages.WARNING)
                return redirect("admin:gamification_pointtransaction_change", entry.pk)
            except ledger.Refused as error:
                form.add_error(None, str(error))
            else:
                self.message_user(request, f"Reversed: {-entry.points:+,} points recorded.", messages.SUCCESS)
                return redirect(ledger_of(entry.member))
        context = {
            **self.admin_site.each_context(request),
            "title": "Reverse an entry",
            "opts": self.opts,
            "entry": entry,
            "form": form,
            "after": entry.member.total_points - entry.points,
            "media": self.media,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "gamification/reverse_entry.html", context)


@admin.register(PointRule)
class PointRuleAdmin(NeverDeleted, SignedAdmin):
    """The points for each action. Rules are added by migrations, because every action needs code."""

    list_display = ("label", "action", "points", "enabled", "updated_at", "updated_by")
    ordering = ("label",)
    fields = ("action", "label", "description", "points", "enabled", "updated_at", "updated_by")
    name_field = "action"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(DiscordActivity)
class DiscordActivityAdmin(LogAdmin):
    list_display = ("synced_at", "member", "activity_type", "xp_delta", "xp_total")
    list_select_related = ("member",)
    list_filter = ("activity_type", "synced_at")
    search_fields = ("discord_id__exact", "member__email", "member__first_name", "member__last_name")
    ordering = ("-synced_at",)
    sortable_by = ("synced_at",)
    fields = ("synced_at", "member", "discord_id", "activity_type", "xp_delta", "xp_total")
