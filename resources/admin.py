"""The admin pages of the library: resources, their files and versions, tags, downloads, searches without results."""

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
# Of each resource in the list no more downloads than this are read to tell how many members they are of: a page of the
# most downloaded would read a million.
MAX_READ = 500
MAX_AUTHOR_LENGTH = 120


class StateFilter(admin.SimpleListFilter):
    """What members see now; a scheduled resource whose time has come is seen."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [
            ("shown", "Seen by members"),
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
    """Count downloads of the resource of a row."""
    rows = (
        ResourceDownload.objects.filter(resource=OuterRef("pk"), **conditions).order_by().values("resource")
    )
    counted = rows.annotate(number=number).values("number")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


class Figures(NamedTuple):
    """What the list says of a resource: whose its latest downloads are, and how many it had lately."""

    latest_members: Sequence[str] = ()
    last_week: int = 0
    week_before: int = 0


class ResourceList(TolerantChangeList):
    """Read the figures of the rows that are shown. In the list's own query a search would have those of all that it
    finds counted, as a search by tags makes its rows distinct before it cuts a page off."""

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
            row.figures = figures.get(row.pk, Figures())  # it may have been deleted just now
        self.result_list = rows


@admin.register(Resource)
class ResourceAdmin(ResourcePages):
    """Resources. Files are received before the form is looked at, and acts are those of resources/curation.py."""

    form = ResourceForm
    change_form_template = "resources/admin_resource.html"
    empty_value_display = "none"
    view_on_site = False  # the members' page is none of staff's; the preview is
    list_display = ("title", "category", "state", "is_featured", "downloads", "members", "last_week")
    list_filter = (StateFilter, "category", "type", "is_featured", "tags")
    show_full_result_count = False  # beside a search, it would count the whole table again
    list_per_page = 50
    search_fields = ("title", "description", "author", "file_name", "tags__name")
    search_help_text = "Title, description, author, file name or tag."
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
        "author": {"max_length": MAX_AUTHOR_LENGTH, "help_text": "As members read it. It may be empty."},
        "file_url": HTTPS_URL,
        "publish_at": {"help_text": "In UTC. A scheduled resource is seen from then on."},
    }

    def get_fieldsets(self, request: HttpRequest, obj: Resource | None = None) -> Any:
        source = ("file_url", "file") if obj is None else ("file_url",) if obj.is_link else ("stored_file",)
        picture = ("thumbnail",) if obj is None else ("picture", "remove_thumbnail", "thumbnail")
        figures = ("download_count", "uploader", "created_at", "updated_at", "deleted_at")
        # Files come last: of a form that is cut off in one, what stands before it has arrived.
        return [
            (None, {"fields": ("title", "description", "category", "type", "author", "tag_list")}),
            ("Publication", {"fields": ("status", "publish_at", "is_featured")}),
            ("Link or file" if obj is None else "Link" if obj.is_link else "File", {"fields": source}),
            ("Picture", {"fields": picture}),
            *([("About this resource", {"fields": figures})] if obj else []),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
        """Give the form what was received with it."""
        form: Any = super().get_form(request, obj, change, **kwargs)
        return type(form.__name__, (form,), {"reception": getattr(request, "reception", uploads.Reception())})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: Any = None,
    ) -> HttpResponse:
        """Receive files before Django opens its transaction, which then is as short as any."""
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
        """Write nothing: resources/curation.py has written the audit log."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ResourceList]:
        return ResourceList

    @admin.display(ordering="download_count")
    def downloads(self, resource: Resource) -> str:
        return f"{resource.download_count:,}"

    @admin.display(description="members")
    def members(self, resource: Any) -> str:
        """Exact up to MAX_READ downloads; of more, how many the latest of them are of."""
        members = len(set(resource.figures.latest_members))
        return f"{members:,}" if resource.download_count <= MAX_READ else f"{members:,} or more"

    @admin.display(description="last 7 days")
    def last_week(self, resource: Any) -> str:
        """Beside the 7 days before."""
        return f"{resource.figures.last_week:,} ({resource.figures.week_before:,} before)"

    @admin.display(description="state")
    def state(self, resource: Resource) -> str:
        if resource.deleted_at:
            return "Deleted"
        if resource.status == Status.SCHEDULED and resource.publish_at:
            is_seen = resource.publish_at <= datetime.now(UTC)
            return f"{'Seen since' if is_seen else 'From'} {resource.publish_at:%-d %b %Y, %H:%M} UTC"
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

    @admin.display(description="picture now")
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
    """What members searched for and did not find, by day. It does not say which members."""

    list_display = ("day", "words", "searches")
    list_filter = ("day",)
    search_fields = ("words",)
    ordering = ("-day", "-searches")
    sortable_by = ("day", "searches")
    fields = ("day", "words", "searches")
