"""The admin's page with figures about the community."""

from typing import Any, cast

from django.contrib import admin
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from council.accounts.models import Account
from council.figures import computing, export
from council.model_admin import ReadOnlyAdmin
from council.models import FigureTable

# The form sends these fields besides its filters.
NO_FILTERS = {"format", "csrfmiddlewaretoken"}


@admin.register(FigureTable)
class FigureTableAdmin(ReadOnlyAdmin):
    """The page with all figures. A job computes them."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export)
        return [path("<slug:name>/export/", view, name="council_figuretable_export"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        shown = computing.shown()
        context = {
            **self.admin_site.each_context(request),
            "title": "Figures",
            "opts": self.opts,
            "figures": shown,
            "computed_at": max((each.computed_at for each in shown if each.computed_at), default=None),
        }
        return TemplateResponse(request, "admin/council/figuretable/change_list.html", context)

    def export(self, request: HttpRequest, name: str) -> HttpResponseBase:
        """Send a figure as a file, using the filters chosen in the form."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        shown = next((each for each in computing.shown() if each.figure.name == name), None)
        file_format = request.POST.get("format", "")
        if shown is None or request.method != "POST" or file_format not in export.FORMATS:
            raise Http404("This figure or this file format does not exist.")
        filters = {key: request.POST[key] for key in request.POST if key not in NO_FILTERS}
        try:
            content = export.content(
                shown, file_format=file_format, filters=filters, performed_by=cast(Account, request.user)
            )
        except export.UnknownFilter as error:
            raise BadRequest(str(error)) from error
        return StreamingHttpResponse(
            content,
            content_type=export.FORMATS[file_format],
            headers={"Content-Disposition": f'attachment; filename="{name}.{file_format}"'},
        )
