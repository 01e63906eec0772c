"""Django's admin as a whole: its door, and who comes past it."""

from functools import partial
from typing import Any, cast

from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from council import access
from council.accounts.models import Account
from council.forms import OwnPasswordChangeForm


class AdminSite(admin.AdminSite):
    site_header = site_title = "Revenue Council"

    @method_decorator(never_cache)
    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Let staff in, and lead them to a page of ours or to the start page, whatever the address asks for."""
        for name in ("GET", "POST"):
            given = getattr(request, name)
            if REDIRECT_FIELD_NAME in given and not access.is_page(request, given[REDIRECT_FIELD_NAME]):
                changed = given.copy()
                del changed[REDIRECT_FIELD_NAME]
                setattr(request, name, changed)
        context = {"next": reverse("admin:index")} if REDIRECT_FIELD_NAME not in request.GET else {}
        return super().login(request, {**context, **(extra_context or {})})

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        """Change the password of an account that has one of its own; the gateway changes the others."""
        account = cast(Account, request.user)
        if account.member_id or account.admin_id or not account.has_usable_password():
            raise PermissionDenied(
                "The gateway knows your password. Change it where you manage your membership."
            )
        request.current_app = self.name
        view = PasswordChangeView.as_view(
            form_class=partial(OwnPasswordChangeForm, request),
            success_url=reverse("admin:password_change_done", current_app=self.name),
            template_name="registration/password_change_form.html",
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return cast(TemplateResponse, view(request))
