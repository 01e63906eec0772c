"""The admin's pages for one resource: replacing the file, versions, preview, deleting and restoring."""

from collections.abc import Iterable
from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from council.accounts.models import Account
from council.model_admin import ModelAdmin, NeverDeleted
from council.models import Admin, Member, SubscriptionStatus
from resources import curation, files, storage, uploads, views
from resources.admin_forms import ReplaceForm
from resources.models import Resource
from resources.refusal import Refused


def names_of(staff_ids: Iterable[str | None]) -> dict[str | None, str]:
    """Map ids of staff to names: the email for the gateway's staff; other accounts have a username as their id."""
    ids = set(staff_ids)
    emails = dict(Admin.objects.filter(pk__in=ids - {None}).values_list("pk", "email"))
    return {each: emails.get(each, each) if each else "Unknown" for each in ids}


class ResourcePages(NeverDeleted, ModelAdmin):
    """Pages in addition to Django's own. Each calls resources/curation.py, and shows the result as a message."""

    def has_curate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("resources.change_resource")

    def has_remove_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("resources.delete_resource")

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, view: Any, name: str) -> URLPattern:
            admin_view: Any = self.admin_site.admin_view(view)
            pattern: URLPattern = path(
                f"<str:object_id>/{route}", admin_view, name=f"resources_resource_{name}"
            )
            return pattern

        return [
            page("replace/", self.replace_view, "replace"),
            page("preview/", self.preview_view, "preview"),
            page("versions/", self.versions_view, "versions"),
            page("versions/<int:number>/file/", self.file_view, "file"),
            page("versions/<int:number>/purge/", self.purge_view, "purge"),
            page("removal/", self.removal_view, "removal"),
            *super().get_urls(),
        ]

    def _resource(self, request: HttpRequest, object_id: str, permission: str) -> Resource:
        """Find the resource of a page. Raises PermissionDenied if the account lacks the page's permission."""
        if not request.user.has_perm(f"resources.{permission}_resource"):
            raise PermissionDenied
        resource: Resource | None = self.get_object(request, object_id)
        if resource is None:
            raise Http404("This resource does not exist.")
        return resource

    def _page(
        self, request: HttpRequest, template: str, resource: Resource, title: str, **more: Any
    ) -> TemplateResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "resource": resource,
            "media": self.media,
            **more,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"resources/{template}", context)

    def replace_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Receive a new file as the next version."""
        resource = self._resource(request, object_id, "change")
        if resource.is_link:
            self.message_user(request, "A link has no file. Change its address instead.", messages.WARNING)
            return redirect("admin:resources_resource_change", resource.pk)
        with uploads.reception() as reception:
            if request.method == "POST":
                reception.receive(request)
            form = ReplaceForm(
                request.POST if request.method == "POST" else None,
                request.FILES or None,
                initial={"seen": resource.current_version},
            )
            form.reception = reception
            if form.is_valid() and reception.file:
                try:
                    version = curation.replace(
                        resource_id=resource.pk,
                        file=reception.file,
                        note=form.cleaned_data["note"],
                        expected_version=form.cleaned_data["seen"],
                        by=cast(Account, request.user),
                    )
                except curation.Conflict as error:
                    resource.refresh_from_db()
                    form.data = {**form.data.dict(), "seen": str(resource.current_version)}  # type: ignore[attr-defined]
                    form.add_error("file", f"{error} Choose the file again.")
                except Refused as error:
                    form.add_error("file", str(error))
                else:
                    reception.keep()
                    self.message_user(
                        request, f"Replaced. Members now get version {version.number}.", messages.SUCCESS
                    )
                    return redirect("admin:resources_resource_change", resource.pk)
        page = self._page(request, "admin_replace.html", resource, "Replace the file", form=form)
        return reception.answer(page)

    def versions_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """List all files that a resource has or had."""
        resource = self._resource(request, object_id, "view")
        versions = list(resource.versions.order_by("-number"))
        names = names_of(version.uploaded_by for version in versions)
        rows = [(version, names[version.uploaded_by]) for version in versions]
        may_purge = self.has_remove_permission(request)
        return self._page(
            request, "admin_versions.html", resource, "Versions", rows=rows, may_purge=may_purge
        )

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Redirect to the audit log. Django's own history does not contain the changes made by other pages."""
        resource = self._resource(request, object_id, "view")
        return redirect(reverse("admin:council_auditlog_changelist", query={"q": resource.pk}))

    def file_view(self, request: HttpRequest, object_id: str, number: int) -> HttpResponse:
        """Send a version to staff. This does not count as a download."""
        resource = self._resource(request, object_id, "view")
        version = resource.versions.filter(number=number).first() if number < 2**31 else None
        if version is None:
            raise Http404("This version does not exist.")
        try:
            if storage.is_served_here():
                return files.send(
                    request, storage.Ticket(version.storage_path, version.file_name, version.mime_type)
                )
            link = storage.link(
                version.storage_path, file_name=version.file_name, mime_type=version.mime_type
            )
        except storage.Unavailable as error:
            self.message_user(request, str(error), messages.ERROR)
            return redirect("admin:resources_resource_versions", resource.pk)
        return redirect(link)

    def purge_view(self, request: HttpRequest, object_id: str, number: int) -> HttpResponse:
        """Ask for confirmation, then delete the file of an old version permanently."""
        resource = self._resource(request, object_id, "delete")
        if request.method == "POST":
            try:
                curation.purge(resource_id=resource.pk, number=number, by=cast(Account, request.user))
            except Refused as error:
                self.message_user(request, str(error), messages.ERROR)
            else:
                self.message_user(
                    request, f"The file of version {number} is permanently deleted.", messages.SUCCESS
                )
            return redirect("admin:resources_resource_versions", resource.pk)
        message = f"This permanently deletes the file of version {number}. Its note stays in the list."
        return self._page(
            request, "admin_confirm.html", resource, "Purge a version", message=message, button="Purge"
        )

    def removal_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for confirmation, then delete or restore a resource."""
        resource = self._resource(request, object_id, "delete")
        if request.method == "POST":
            act = curation.restore if resource.deleted_at else curation.delete
            act(resource_ids=[resource.pk], by=cast(Account, request.user))
            done = (
                "Restored, exactly as it was." if resource.deleted_at else "Deleted. You can restore it here."
            )
            self.message_user(request, done, messages.SUCCESS)
            return redirect("admin:resources_resource_change", resource.pk)
        if resource.deleted_at:
            message = "Members will see the resource again, with its versions and downloads, as before."
            return self._page(
                request, "admin_confirm.html", resource, "Restore", message=message, button="Restore"
            )
        message = "Members will no longer see the resource. Files, versions and downloads stay, and you can restore it."
        return self._page(request, "admin_confirm.html", resource, "Delete", message=message, button="Delete")

    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the page as a member would see it, even if it is not published."""
        resource = self._resource(request, object_id, "view")
        member = Member(first_name="A member", subscription_status=SubscriptionStatus.ACTIVE)
        is_shown = Resource.objects.shown().filter(pk=resource.pk).exists()
        context = {
            **views.page_of(resource, member),
            "member": member,
            "is_preview": True,
            "is_shown": is_shown,
        }
        return render(request, "resources/admin_preview.html", context)
