"""The admin pages of the library: resources, downloads and searches without results. tag_admin.py has the tags."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.contrib.postgres.expressions import ArraySubquery
from django.core.validators import URLValidator
from django.db.models import Count, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html

from council.accounts.models import Account
from council.model_admin import MULTILINE, LogAdmin, TolerantChangeList
from resources import curation, tag_admin, uploads  # noqa: F401  # tag_admin registers its pages
from resources.admin_forms import ResourceForm
from resources.admin_pages import ResourcePages, names_of
from resources.models import (
    MAX_DESCRIPTION_LENGTH,
    MAX_TITLE_LENGTH,
    Resource,
    ResourceDownload,
    ResourceSearchMiss,
    Status,
)

HTTPS_URL = {
    "form_class": forms.CharField,
    "widget": AdminTextInputWidget(attrs={"type": "url"}),
    "max_length": 2048,
    "validators": [URLValidator(schemes=["https"], message="Enter an address that begins with https://.")],
}
WEEK = timedelta(days=7)
# The list counts members from at most this many downloads per resource. Otherwise, a page of the most downloaded
# resources would read a million rows.
MAX_READ = 500
MAX_AUTHOR_LENGTH = 120


class StateFilter(admin.SimpleListFilter):
    """A filter by what members see now. They see a scheduled resource once its time has come."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("shown", "Visible to members"),
            ("draft", "Drafts"),
            ("scheduled", "Scheduled"),
            ("deleted", "Deleted"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        now = datetime.now(UTC)
        is_there = queryset.filter(deleted_at__isnull=True)
        match self.value():
            case "shown":
                return is_there.filter(
                    Q(status=Status.PUBLISHED) | Q(status=Status.SCHEDULED, publish_at__lte=now)
                )
            case "draft":
                return is_there.filter(status=Status.DRAFT)
            case "scheduled":
                return is_there.filter(status=Status.SCHEDULED, publish_at__gt=now)
            case "deleted":
                return queryset.filter(deleted_at__isnull=False)
        return queryset


def downloads_of(number: Any, **conditions: Any) -> Any:
    """Build a subquery that counts the downloads of each row's resource."""
    rows = (
        ResourceDownload.objects.filter(resource=OuterRef("pk"), **conditions).order_by().values("resource")
    )
    counted = rows.annotate(number=number).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


class Figures(NamedTuple):
    """Figures about a resource for the list: the members of its latest downloads, and recent download counts."""

    latest_members: Sequence[str] = ()
    last_week: int = 0
    week_before: int = 0


class ResourceList(TolerantChangeList):
    """Read the figures only for the rows on the page. The list's own query would compute them for all matches."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        week, before = datetime.now(UTC) - WEEK, datetime.now(UTC) - 2 * WEEK
        latest = ResourceDownload.objects.filter(resource=OuterRef("pk")).order_by("-downloaded_at")
        counted = Resource.objects.filter(pk__in=[row.pk for row in rows]).values_list(
            "pk",
            ArraySubquery(latest.values("member")[:MAX_READ]),
            downloads_of(Count("pk"), downloaded_at__gte=week),
            downloads_of(Count("pk"), downloaded_at__gte=before, downloaded_at__lt=week),
        )
        figures = {pk: Figures(*rest) for pk, *rest in counted}
        for row in rows:
            row.figures = figures.get(row.pk, Figures())  # the row may just have been deleted
        self.result_list = rows


@admin.register(Resource)
class ResourceAdmin(ResourcePages):
    """Resources. Files are received before the form is validated. resources/curation.py makes all changes."""

    form = ResourceForm
    change_form_template = "resources/admin_resource.html"
    empty_value_display = "none"
    view_on_site = False  # staff cannot open the members' page, but they have the preview
    list_display = ("title", "category", "state", "is_featured", "downloads", "members", "last_week")
    list_filter = (StateFilter, "category", "type", "is_featured", "tags")
    show_full_result_count = False  # it would count the whole table for every search
    list_per_page = 50
    search_fields = ("title", "description", "author", "file_name", "tags__name")
    search_help_text = "Search by title, description, author, file name or tag."
    ordering = ("-created_at",)
    sortable_by = ("title", "category", "downloads")
    actions = ("publish", "feature", "no_longer_feature", "delete", "restore")
    readonly_fields = (
        "stored_file",
        "picture",
        "download_count",
        "uploader",
        "created_at",
        "updated_at",
        "deleted_at",
    )
    field_options = {
        "title": {"max_length": MAX_TITLE_LENGTH},
        "description": {**MULTILINE, "max_length": MAX_DESCRIPTION_LENGTH},
        "author": {"max_length": MAX_AUTHOR_LENGTH, "help_text": "Members see this name. It may be empty."},
        "file_url": HTTPS_URL,
        "publish_at": {"help_text": "In UTC. Members see a scheduled resource from this time on."},
    }

    def get_fieldsets(self, request: HttpRequest, obj: Resource | None = None) -> Any:
        source = ("file_url", "file") if obj is None else ("file_url",) if obj.is_link else ("stored_file",)
        picture = ("thumbnail",) if obj is None else ("picture", "remove_thumbnail", "thumbnail")
        figures = ("download_count", "uploader", "created_at", "updated_at", "deleted_at")
        # Files come last, so that if a file is too large and cut off, the fields before it have arrived.
        return [
            (None, {"fields": ("title", "description", "category", "type", "author", "tag_list")}),
            ("Publication", {"fields": ("status", "publish_at", "is_featured")}),
            ("Link or file" if obj is None else "Link" if obj.is_link else "File", {"fields": source}),
            ("Picture", {"fields": picture}),
            *([("About this resource", {"fields": figures})] if obj else []),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        """Give the form the files that were received with it."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"reception": getattr(request, "reception", uploads.Reception())})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Receive files before Django opens its transaction, so that the transaction is short."""
        if request.method != "POST":
            return super().changeform_view(request, object_id, form_url, extra_context)
        with uploads.reception() as reception:
            reception.receive(request)
            request.reception = reception  # type: ignore[attr-defined]
            return reception.answer(super().changeform_view(request, object_id, form_url, extra_context))

    def save_model(self, request: HttpRequest, obj: Resource, form: Any, change: Any) -> None:
        reception: uploads.Reception = form.reception
        given: dict[str, Any] = {
            "resource": obj,
            "thumbnail_path": reception.thumbnail_path,
            "site": request.build_absolute_uri("/").rstrip("/"),
            "by": cast(Account, request.user),
        }
        if change:
            names = {field.name for field in obj._meta.concrete_fields}
            curation.change(
                **given,
                fields=[name for name in form.changed_data if name in names],
                is_thumbnail_removed=form.cleaned_data["remove_thumbnail"],
                tags=form.cleaned_data["tag_list"] if "tag_list" in form.changed_data else None,
            )
            reception.keep()
            return
        curation.create(**given, file=reception.file, tags=form.cleaned_data["tag_list"])
        reception.keep()

    def _record_saved(self, request: HttpRequest, row: Any, *, is_new: bool) -> None:
        """Do nothing, because resources/curation.py has already written the audit log."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ResourceList]:
        return ResourceList

    @admin.display(ordering="download_count")
    def downloads(self, resource: Resource) -> str:
        return f"{resource.download_count:,}"

    @admin.display(description="members")
    def members(self, resource: Any) -> str:
        """Count the members who downloaded it. Above MAX_READ downloads, this is a minimum from the latest ones."""
        members = len(set(resource.figures.latest_members))
        return f"{members:,}" if resource.download_count <= MAX_READ else f"{members:,} or more"

    @admin.display(description="last 7 days")
    def last_week(self, resource: Any) -> str:
        """Count the downloads of the last 7 days, and of the 7 days before them."""
        return f"{resource.figures.last_week:,} ({resource.figures.week_before:,} before)"

    @admin.display(description="state")
    def state(self, resource: Resource) -> str:
        if resource.deleted_at:
            return "Deleted"
        if resource.status == Status.SCHEDULED and resource.publish_at:
            is_seen = resource.publish_at <= datetime.now(UTC)
            return f"Visible {'since' if is_seen else 'from'} {resource.publish_at:%-d %b %Y, %H:%M} UTC"
        return str(Status(resource.status).label)

    @admin.display(description="file")
    def stored_file(self, resource: Resource) -> str:
        return format_html(
            '<a href="{}">{}</a>, {}, version {}',
            reverse("admin:resources_resource_file", args=[resource.pk, resource.current_version]),
            resource.file_name,
            filesizeformat(resource.file_size or 0),
            resource.current_version,
        )

    @admin.display(description="uploaded by")
    def uploader(self, resource: Resource) -> str:
        return names_of([resource.uploaded_by])[resource.uploaded_by]

    @admin.display(description="current picture")
    def picture(self, resource: Resource) -> str:
        if not resource.thumbnail_address:
            return "None"
        return format_html(
            '<img src="{}" alt="The picture that members see" width="320">', resource.thumbnail_address
        )

    # Actions of the list.

    def _act(
        self, request: HttpRequest, queryset: QuerySet[Any], act: Callable[..., int], done: str, **given: Any
    ) -> None:
        ids = list(queryset.values_list("pk", flat=True))
        changed = act(resource_ids=ids, by=cast(Account, request.user), **given)
        level = messages.SUCCESS if changed else messages.WARNING
        self.message_user(request, f"{changed} of {len(ids)} {done}.", level)

    @admin.action(description="Publish now", permissions=["curate"])
    def publish(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._act(request, queryset, curation.publish, "published")

    @admin.action(description="Feature", permissions=["curate"])
    def feature(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._act(request, queryset, curation.feature, "featured", is_featured=True)

    @admin.action(description="No longer feature", permissions=["curate"])
    def no_longer_feature(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._act(request, queryset, curation.feature, "no longer featured", is_featured=False)

    @admin.action(description="Delete (can be restored)", permissions=["remove"])
    def delete(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._act(request, queryset, curation.delete, "deleted. Filter by state to restore them")

    @admin.action(description="Restore", permissions=["remove"])
    def restore(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self._act(request, queryset, curation.restore, "restored")


@admin.register(ResourceDownload)
class ResourceDownloadAdmin(LogAdmin):
    list_display = ("downloaded_at", "resource", "member")
    list_select_related = ("resource", "member")
    list_filter = ("downloaded_at", "resource__category")
    search_fields = ("resource__title", "member__email", "member__first_name", "member__last_name")
    ordering = ("-downloaded_at",)
    sortable_by = ("downloaded_at",)
    fields = ("downloaded_at", "resource", "member")


@admin.register(ResourceSearchMiss)
class ResourceSearchMissAdmin(LogAdmin):
    """Searches without results, by day. The rows do not say which members searched."""

    list_display = ("day", "words", "searches")
    list_filter = ("day",)
    search_fields = ("words",)
    ordering = ("-day", "-searches")
    sortable_by = ("day", "searches")
    fields = ("day", "words", "searches")
