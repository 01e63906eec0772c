"""Base classes of the admin pages, for the audit log, rows that the gateway writes too, secrets and append-only tables.

Every change on a page that derives from `ModelAdmin` adds an AuditLog row with the old and new values, in the same
transaction: changes to the row and its inlines, changes in the list, and deletions. An action that updates rows itself
must wrap the update in `with self.audited(request, queryset):`.
"""

import json
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AdminTextareaWidget, AdminTextInputWidget
from django.core.exceptions import PermissionDenied, SuspiciousOperation, ValidationError
from django.core.paginator import Paginator
from django.db import InterfaceError, OperationalError, models, transaction
from django.db.models.fields import NOT_PROVIDED
from django.http import HttpRequest, HttpResponseBase
from django.utils.html import format_html

from council import audit, logs
from council.accounts.models import Account

MAX_LINE_LENGTH = 500
MAX_TEXT_LENGTH = 100_000
MAX_SHOWN_LENGTH = 50_000
# A crafted regular expression in the address could keep the database busy for ever.
REFUSED_LOOKUPS = {"regex", "iregex"}


class MultilineField(forms.CharField):
    """A text field that stores LF line ends, as the gateway does. Browsers send CRLF."""

    widget = AdminTextareaWidget

    def to_python(self, value: Any) -> Any:
        return super().to_python(value.replace("\r\n", "\n") if isinstance(value, str) else value)


MULTILINE: dict[str, Any] = {"form_class": MultilineField, "widget": AdminTextareaWidget}


def pretty(value: Any) -> str | None:
    """Format JSON as indented text, without values whose names look secret. Cut it after MAX_SHOWN_LENGTH."""
    if value is None:
        return None
    text = json.dumps(_without_secrets(value), indent=2, ensure_ascii=False)
    if len(text) > MAX_SHOWN_LENGTH:
        text = f"{text[:MAX_SHOWN_LENGTH]}\n… ({len(text):,} characters in all)"
    return format_html("<pre>{}</pre>", text)


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: audit.HIDDEN
            if audit.SECRET_FIELD.search(name) and not isinstance(each, dict | bool | None)
            else _without_secrets(each)
            for name, each in value.items()
        }
    return [_without_secrets(each) for each in value] if isinstance(value, list) else value


def presence(value: Any) -> str:
    """Tell whether a secret is set, without showing it."""
    return "set, never shown" if value not in (None, "") else "not set"


class TolerantChangeList(ChangeList):
    """A list that treats a filter which fails in the database like a filter that Django cannot parse."""

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
        except (OperationalError, InterfaceError, SuspiciousOperation, PermissionDenied):
            raise
        except Exception as error:
            self._blame(error)

    def _blame(self, error: Exception) -> None:
        if not self.params:
            raise error  # there is no filter that could be the cause
        logs.LOGGER.warning("The filters in the address do not work for this list.", exc_info=error)
        raise IncorrectLookupParameters(error) from error


class ModelAdmin(admin.ModelAdmin):
    """Edit rows that the gateway writes, too. Only the fields that the form changed are saved.

    The form holds a hidden copy of each value that it showed. A field has changed if it differs from that copy, not
    from the row as it is when the form is sent.
    """

    formfield_overrides = {models.TextField: {"widget": AdminTextInputWidget}}
    # Keyword arguments for form fields, by the name of the field.
    field_options: dict[str, dict[str, Any]] = {}
    # Fields that a query string must not filter by: `?password_hash__startswith=` would reveal the hash bit by bit.
    secret_fields: tuple[str, ...] = ()
    # Fields that save_model fills itself.
    stamped_fields: tuple[str, ...] = ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        kwargs |= self.field_options.get(db_field.name, {})
        if isinstance(db_field, models.TextField) and not db_field.choices and not db_field.max_length:
            is_long = kwargs.get("widget") is AdminTextareaWidget
            kwargs.setdefault("max_length", MAX_TEXT_LENGTH if is_long else MAX_LINE_LENGTH)
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is None:
            return None
        field.show_hidden_initial = not db_field.many_to_many
        if isinstance(field, forms.CharField) and db_field.null:
            # A unique column can hold many NULLs but only one "". Django does this only for CharField.
            field.empty_value = None
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Fill the form for a new row with the database's defaults."""
        defaults = {
            field.name: field.db_default
            for field in self.opts.concrete_fields
            if field.db_default is not NOT_PROVIDED and not hasattr(field.db_default, "resolve_expression")
        }
        asked = {
            name: value
            for name, value in super().get_changeform_initial_data(request).items()
            if self._can_hold(name, value)
        }
        return {**defaults, **asked}

    def _can_hold(self, name: str, value: Any) -> bool:
        """Tell whether the form can show this value from the address."""
        field = next((each for each in self.opts.get_fields() if each.name == name), None)
        if not isinstance(field, models.Field):
            return False
        related = field.remote_field.model._meta.pk if field.remote_field else None
        try:
            for each in value if isinstance(value, list) else [value]:
                if related:
                    related.to_python(each)
                elif isinstance(field, models.DateField | models.TimeField | models.JSONField):
                    return False  # the widget needs a date, a time or JSON, but the address holds text
                else:
                    field.to_python(each)
        except (ValidationError, ValueError, TypeError, OverflowError):
            return False
        return True

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Leave read-only fields out of the form for a new row, which has no values to show."""
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
            return
        self._remember(request, obj)
        if form.changed_data:
            names = {*form.changed_data, *self.stamped_fields}
            obj.save(
                update_fields=[
                    field.name
                    for field in obj._meta.concrete_fields
                    if field.name in names or getattr(field, "auto_now", False)
                ]
            )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TolerantChangeList

    # The audit log. Django calls the log_… methods after the change, in the same transaction.

    def _remember(self, request: HttpRequest, row: models.Model) -> None:
        """Read the old values of a row for the audit log. Call this before the change."""
        _before(request)[type(row), row.pk] = audit.stored_values(row)

    def _record(self, request: HttpRequest, row: models.Model, *, before: Any, after: Any) -> None:
        automatic = [field.name for field in row._meta.concrete_fields if getattr(field, "auto_now", False)]
        audit.record_change(
            row,
            before=before,
            after=after,
            by=cast(Account, request.user),
            secret_fields=self.secret_fields,
            left_out=[*self.stamped_fields, *automatic],
        )

    def _record_saved(self, request: HttpRequest, row: models.Model, *, is_new: bool) -> None:
        before = None if is_new else _before(request).get((type(row), row.pk))
        self._record(request, row, before=before, after=audit.stored_values(row))

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: Any) -> None:
        for row in [each.instance for each in formset.initial_forms if each.instance.pk is not None]:
            self._remember(request, row)
        pks = {id(each.instance): each.instance.pk for each in formset.initial_forms}
        super().save_formset(request, form, formset, change)
        for row in getattr(formset, "new_objects", []):
            self._record_saved(request, row, is_new=True)
        for row, _ in getattr(formset, "changed_objects", []):
            self._record_saved(request, row, is_new=False)
        for row in getattr(formset, "deleted_objects", []):
            row.pk = pks.get(id(row), row.pk)
            self._record(request, row, before=_before(request).get((type(row), row.pk)), after=None)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record_saved(request, obj, is_new=True)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record_saved(request, obj, is_new=False)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        for row in queryset:
            self._record(request, row, before=audit.stored_values(row), after=None)
        return super().log_deletions(request, queryset)

    def audited(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> AbstractContextManager[None]:
        """Log what a block changes in the rows of an action, in the same transaction as the block."""
        return audit.changes_of(queryset, by=cast(Account, request.user))

    def response_action(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> Any:
        """Run an action and write its audit rows in one transaction. Refuse values that cannot be primary keys."""
        try:
            for key in request.POST.getlist(ACTION_CHECKBOX_NAME):
                self.opts.pk.to_python(key)
        except ValidationError:
            self.message_user(request, "A chosen row is not in this list. Choose again.", messages.WARNING)
            return None
        with transaction.atomic():
            response: HttpResponseBase | None = super().response_action(request, queryset)
        return response

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Refuse filters by secret fields, and by tables that refer here, such as ?benchmark_submissions=<id>."""
        name, *rest = lookup.split("__")
        others = {relation.name for relation in self.opts.related_objects}
        if name in others or name in self.secret_fields or audit.is_secret(self.model, name):
            return False
        if REFUSED_LOOKUPS & set(rest) or "\0" in str(value):
            return False
        return super().lookup_allowed(lookup, value, request)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        # In a crafted link, `from_field` may be empty. Django would then look for a field named "".
        return None if "\0" in object_id else super().get_object(request, object_id, from_field or None)


def _before(request: HttpRequest) -> dict[Any, Any]:
    """Return the old values of the rows that the request changes, by model and primary key."""
    if not hasattr(request, "rows_before"):
        request.rows_before = {}  # type: ignore[attr-defined]
    return request.rows_before  # type: ignore[attr-defined, no-any-return]


class NeverDeleted(admin.ModelAdmin):
    """Forbid deletion: the database would cascade to rows that Django's confirmation page does not show."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyAdmin(NeverDeleted, ModelAdmin):
    """Show rows without letting anybody change them, whatever their permissions. The page of a row shows `fields`."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return flatten_fieldsets(self.fieldsets) if self.fieldsets else self.fields or ()


class BoundedPaginator(Paginator):
    """Count and show at most the first 10,000 rows, so that no page scans a long table."""

    max_rows = 10_000

    @cached_property
    def count(self) -> int:
        rows: models.QuerySet[Any] = self.object_list  # type: ignore[assignment]
        return rows.order_by()[: self.max_rows].count()


class LogAdmin(ReadOnlyAdmin):
    """Show an append-only table, newest first, quickly at any size. The ordering needs an index."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    search_help_text = (
        f"Only the newest {BoundedPaginator.max_rows:,} rows are listed. Search or filter to find older ones."
    )
