"""The admin's pages for tags."""

from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from council.accounts.models import Account
from council.model_admin import ModelAdmin
from resources import curation
from resources.admin_forms import MergeForm, TagForm
from resources.models import MAX_TAG_LENGTH, ResourceTag
from resources.refusal import Refused


@admin.register(ResourceTag)
class ResourceTagAdmin(ModelAdmin):
    """The list of tags. A tag in use can be merged into another one, but not deleted."""

    form = TagForm
    list_display = ("name", "slug", "used")
    search_fields = ("name",)
    ordering = ("name",)
    sortable_by = ("name",)
    fields = ("name",)
    actions = ("merge",)
    field_options = {"name": {"max_length": MAX_TAG_LENGTH}}
    stamped_fields = ("slug",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).annotate(resources_counted=Count("taggings"))
        return rows

    # The method has another name than its column, because Django would show the model's relation `resources` instead.
    @admin.display(description="resources")
    def used(self, tag: Any) -> str:
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:resources_resource_changelist", query={"tags__id__exact": tag.pk}),
            f"{tag.resources_counted:,}",
        )

    def get_actions(self, request: HttpRequest) -> Any:
        """Remove Django's own delete action, which would fail with a database error for a tag in use."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        to_delete, counts, missing, protected = super().get_deleted_objects(objs, request)
        protected += [curation.in_use(tag) for tag in objs if tag.taggings.exists()]
        return to_delete, counts, missing, protected

    def delete_model(self, request: HttpRequest, obj: ResourceTag) -> None:
        try:
            curation.delete_tag(tag=obj)
        except Refused as error:
            raise PermissionDenied(str(error)) from error

    def has_merge_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("resources.delete_resourcetag")

    @admin.action(description="Merge into one", permissions=["merge"])
    def merge(self, request: HttpRequest, queryset: QuerySet[ResourceTag]) -> HttpResponse | None:
        """Ask which tag to keep, and merge the others into it."""
        tags = list(
            ResourceTag.objects.filter(pk__in=request.POST.getlist(ACTION_CHECKBOX_NAME)).order_by("name")
        )
        if len(tags) < 2:
            self.message_user(request, "Select at least two tags.", messages.WARNING)
            return None
        form = MergeForm(request.POST if "into" in request.POST or "merge_now" in request.POST else None)
        cast(Any, form.fields["into"]).queryset = ResourceTag.objects.filter(
            pk__in=[tag.pk for tag in tags]
        ).order_by("name")
        if form.is_valid():
            into = form.cleaned_data["into"]
            others = [tag.pk for tag in tags if tag.pk != into.pk]
            try:
                changed = curation.merge_tags(tag_ids=others, into_id=into.pk, by=cast(Account, request.user))
            except Refused as error:
                form.add_error(None, str(error))
            else:
                done = f"Merged into {into.name}, added to {changed} resource{'' if changed == 1 else 's'}."
                self.message_user(request, done, messages.SUCCESS)
                return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Merge tags",
            "opts": self.opts,
            "tags": tags,
            "form": form,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "media": self.media,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "resources/admin_merge.html", context)
