"""What all admin pages have in common: rows that the gateway writes too, secrets, and tables that only grow."""

import json
from functools import cached_property
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.paginator import Paginator
from django.db import models
from django.db.models.fields import NOT_PROVIDED
from django.http import HttpRequest
from django.utils.html import format_html


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
