"""The site's own pages: the doors, and what a member is told about the membership."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from council.access import MemberRequest
from council.forms import SignInForm


@login_not_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Lead everybody to where they can go."""
    if not request.user.is_authenticated:
        return redirect("council:sign-in")
    return redirect(settings.LOGIN_REDIRECT_URL if request.user.member else "admin:index")


@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Let a member in, and lead them to the page they asked for."""
    asked_for = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(
        asked_for, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    destination = asked_for if is_ours else settings.LOGIN_REDIRECT_URL
    if request.user.is_authenticated and request.user.member:
        return redirect(destination)
    form = SignInForm(request, request.POST if request.method == "POST" else None)
    if form.is_valid():
        login(request, form.account)
        return redirect(destination)
    return render(request, "council/sign_in.html", {"form": form, "next": asked_for if is_ours else ""})


@login_not_required
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    messages.success(request, "You are signed out.")
    return redirect("council:sign-in")


@require_safe
def membership(request: MemberRequest) -> HttpResponse:
    """Show a member their standing, and what is missing if it is not good."""
    return render(request, "council/membership.html")
