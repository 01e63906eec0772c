"""Django's admin site: its sign-in page, the second factor, and who may enter."""

import base64
from functools import partial
from typing import Any, cast

from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from council import access, second_factor, sessions, throttle
from council.accounts.models import Account
from council.forms import OwnPasswordChangeForm, SecondFactorForm


class AdminSite(admin.AdminSite):
    site_header = site_title = "Revenue Council"

    def has_permission(self, request: HttpRequest) -> bool:
        return super().has_permission(request) and not second_factor.is_missing(request)

    def get_urls(self) -> list[Any]:
        return [
            path("second-factor/", self.second_factor, name="second-factor"),
            path("sessions/", self.admin_view(self.sessions), name="sessions"),
            *super().get_urls(),
        ]

    @method_decorator(never_cache)
    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Sign staff in, then redirect to a page of this site, even if `next` names an address elsewhere."""
        for name in ("GET", "POST"):
            given = getattr(request, name)
            if REDIRECT_FIELD_NAME in given and not access.is_page(request, given[REDIRECT_FIELD_NAME]):
                changed = given.copy()
                changed[REDIRECT_FIELD_NAME] = reverse("admin:index")
                setattr(request, name, changed)
        if request.method == "GET" and super().has_permission(request) and second_factor.is_missing(request):
            asked_for = request.GET.get(REDIRECT_FIELD_NAME, reverse("admin:index"))
            return HttpResponseRedirect(
                reverse("admin:second-factor", query={REDIRECT_FIELD_NAME: asked_for})
            )
        context = {"next": reverse("admin:index")} if REDIRECT_FIELD_NAME not in request.GET else {}
        return super().login(request, {**context, **(extra_context or {})})

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Change the password of an account that has its own. The gateway changes all others."""
        account = cast(Account, request.user)
        if account.member_id or account.admin_id or not account.has_usable_password():
            raise PermissionDenied(
                "Your password is not stored here. Change it where you manage your membership."
            )
        request.current_app = self.name
        view = PasswordChangeView.as_view(
            form_class=partial(OwnPasswordChangeForm, request),
            success_url=reverse("admin:password_change_done", current_app=self.name),
            template_name="registration/password_change_form.html",
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return cast(TemplateResponse, view(request))

    @method_decorator(never_cache)
    def second_factor(self, request: HttpRequest) -> HttpResponse:
        """Ask staff for a code after the password. The first time, set up the app and show the recovery codes."""
        asked_for = request.POST.get(REDIRECT_FIELD_NAME) or request.GET.get(REDIRECT_FIELD_NAME) or ""
        destination = asked_for if access.is_page(request, asked_for) else reverse("admin:index")
        if not super().has_permission(request):
            return HttpResponseRedirect(reverse("admin:login"))
        if not second_factor.is_missing(request):
            return HttpResponseRedirect(destination)
        account = Account.objects.get(pk=cast(Account, request.user).pk)
        is_set_up = second_factor.is_set_up(account)
        form = SecondFactorForm(request.POST if request.method == "POST" else None)
        codes = None
        if form.is_valid():
            attempt = throttle.begin(request, door="second factor", email=str(account.pk))
            code = form.cleaned_data["code"]
            if is_set_up and second_factor.verify(request, account=account, code=code):
                attempt.succeeded()
                return HttpResponseRedirect(destination)
            codes = None if is_set_up else second_factor.confirm(request, account=account, code=code)
            if codes:
                attempt.succeeded()
            else:
                form.add_error(
                    "code",
                    "This is not the code that the app shows now. Wait for the next code, then enter it.",
                )
        device = None if is_set_up or codes else second_factor.begin(account)
        context = {
            **self.each_context(request),
            "title": "Recovery codes" if codes else "Second factor",
            "form": form,
            "next": destination,
            "codes": codes,
            "picture": second_factor.picture(device, account=account) if device else None,
            "secret": base64.b32encode(device.bin_key).decode() if device else None,
        }
        request.current_app = self.name
        return TemplateResponse(request, "admin/second_factor.html", context)

    def sessions(self, request: HttpRequest) -> HttpResponse:
        """Show a member of staff where they are signed in. A POST signs them out everywhere."""
        account = cast(Account, request.user)
        if request.method == "POST":
            sessions.end_everywhere(account=account)
            logout(request)
            return HttpResponseRedirect(reverse("admin:login"))
        places = sessions.places(request, account=account)
        context = {**self.each_context(request), "title": "Where you are signed in", "places": places}
        request.current_app = self.name
        return TemplateResponse(request, "admin/sessions.html", context)
