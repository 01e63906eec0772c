"""The site's own pages: the home page, signing in and out, sessions, and the membership."""

import sys
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render, resolve_url
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from council import home as page
from council import outage, sessions
from council.access import MemberRequest, is_page
from council.forms import SignInForm
from council.requests import is_prefetch

SECURITY_TXT_DAYS = 180


@login_not_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show a member their home page. Redirect staff to the admin, and others to the sign-in page."""
    account = request.user
    if not account.is_authenticated:
        return redirect("council:sign-in")
    if not account.member:
        return redirect("admin:index")
    is_looked_at = request.method == "GET" and not is_prefetch(request)
    visit = page.visit(account, is_noted=is_looked_at)
    return render(request, "council/home.html", {"parts": page.parts(visit)})


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign a member in, and redirect to the page they asked for."""
    asked_for = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = is_page(request, asked_for)
    destination = asked_for if is_ours else resolve_url(settings.LOGIN_REDIRECT_URL)
    if request.user.is_authenticated and request.user.member:
        return HttpResponseRedirect(destination)
    form = SignInForm(request, request.POST if request.method == "POST" else None)
    if form.is_valid():
        login(request, form.account)
        return HttpResponseRedirect(destination)
    return render(request, "council/sign_in.html", {"form": form, "next": asked_for if is_ours else ""})


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    messages.success(request, "You are signed out.")
    return redirect("council:sign-in")


@require_safe
def membership(request: MemberRequest) -> HttpResponse:
    """Show a member their membership, and what is missing if it is not in good standing."""
    return render(request, "council/membership.html")


@require_http_methods(["GET", "HEAD", "POST"])
def own_sessions(request: MemberRequest) -> HttpResponse:
    """Show a member where they are signed in. A POST signs them out everywhere."""
    if request.method == "POST":
        sessions.end_everywhere(account=request.user)
        logout(request)
        messages.success(request, "You are signed out everywhere.")
        return redirect("council:sign-in")
    return render(
        request, "council/sessions.html", {"places": sessions.places(request, account=request.user)}
    )


@login_not_required
@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """Say where to report a security problem (RFC 9116)."""
    contact = settings.SECURITY_CONTACT or f"mailto:security@{request.get_host().partition(':')[0]}"
    expires = (datetime.now(UTC) + timedelta(days=SECURITY_TXT_DAYS)).replace(hour=0, minute=0, second=0)
    address = request.build_absolute_uri(request.path)
    lines = [f"Contact: {contact}", f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}", f"Canonical: {address}"]
    return HttpResponse(
        "\n".join([*lines, "Preferred-Languages: en", ""]), content_type="text/plain; charset=utf-8"
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500, or 503 if the database did not answer. Django has already logged the error."""
    if outage.is_outage(sys.exc_info()[1]):
        return outage.unavailable(request)
    return outage.fault(request, status=500)
