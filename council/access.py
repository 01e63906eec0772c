"""Who may open which page. Only members may, unless the view says otherwise."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme

from council.accounts.models import Account
from council.models import Member

P = ParamSpec("P")
MAX_NEXT_LENGTH = 2_000
# Signing in must not lead to these pages: they would sign the person out again.
WAYS_OUT = {"council:sign-out", "admin:logout"}


class MemberRequest(HttpRequest):
    """The request that a member page's view receives."""

    user: Account
    member: Member


class MembersOnly(LoginRequiredMiddleware):
    """Allow only members on every page, except pages marked `login_not_required` and Django's admin.

    Redirects a visitor who is not signed in to the sign-in page, and back afterwards. Sets `request.member`.
    """

    def process_view(
        self, request: Any, view_func: Callable[..., Any], view_args: Any, view_kwargs: Any
    ) -> HttpResponse | None:
        if not getattr(view_func, "login_required", True) or "admin" in request.resolver_match.app_names:
            return None
        if not request.user.is_authenticated:
            return self.handle_no_permission(request, view_func)
        if request.user.member is None:
            raise PermissionDenied(
                "This page is for members. The account that you are signed in with does not belong to a member. "
                "Sign out, then sign in as a member."
            )
        request.member = request.user.member
        return None


def good_standing_required(
    view: Callable[Concatenate[MemberRequest, P], HttpResponse],
) -> Callable[Concatenate[MemberRequest, P], HttpResponse]:
    """Answer 403 and explain what is missing, instead of the page, if the membership is not active."""

    @wraps(view)
    def inner(request: MemberRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.member.is_in_good_standing:
            return render(request, "council/no_good_standing.html", status=403)
        return view(request, *args, **kwargs)

    return inner


def is_page(request: HttpRequest, address: str) -> bool:
    """Tell whether an address is a page of this site to which a sign-in may redirect."""
    if len(address) > MAX_NEXT_LENGTH or not url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    ):
        return False
    try:
        match = resolve(urlsplit(address).path)
    except Resolver404:
        return False
    return match.view_name not in WAYS_OUT
