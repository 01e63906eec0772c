"""The admin pages of the library."""

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.validators import URLValidator

from council.model_admin import MULTILINE, LogAdmin, ModelAdmin, NeverDeleted
from resources.models import Resource, ResourceDownload

HTTPS_URL = {
    "form_class": forms.CharField,
    "widget": AdminTextInputWidget(attrs={"type": "url"}),
    "max_length": 2048,
    "validators": [URLValidator(schemes=["https"], message="Enter an address that begins with https://.")],
}


@admin.register(Resource)
class ResourceAdmin(NeverDeleted, ModelAdmin):
    list_display = ("title", "category", "type", "is_featured", "download_count", "created_at")
    list_filter = ("category", "type", "is_featured")
    search_fields = ("title", "description")
    ordering = ("-created_at",)
    fields = (
        "title",
        "description",
        "category",
        "type",
        "file_url",
        "thumbnail_url",
        "is_featured",
        "download_count",
        "created_at",
        "updated_at",
    )
    readonly_fields = ("download_count", "created_at", "updated_at")
    field_options = {
        "title": {"max_length": 200},
        "description": {**MULTILINE, "max_length": 2000},
        "file_url": HTTPS_URL,
        "thumbnail_url": HTTPS_URL,
    }


@admin.register(ResourceDownload)
class ResourceDownloadAdmin(LogAdmin):
    list_display = ("downloaded_at", "resource", "member")
    list_select_related = ("resource", "member")
    list_filter = ("downloaded_at", "resource__category")
    search_fields = ("resource__title", "member__email", "member__first_name", "member__last_name")
    ordering = ("-downloaded_at",)
    sortable_by = ("downloaded_at",)
    fields = ("downloaded_at", "resource", "member")
