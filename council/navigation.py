"""The context processor for the header of every page."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Give templates the member, if any, and the pages of `MEMBER_PAGES`.

    Each page is a label, an address, and whether it is the current page.
    """
    user = getattr(request, "user", None)
    member = user.member if user and user.is_authenticated else None
    here = request.resolver_match.view_name if request.resolver_match else ""
    pages = [(label, reverse(name), name == here) for label, name in settings.MEMBER_PAGES] if member else []
    return {"member": member, "member_pages": pages, "billing_address": settings.GATEWAY_URL}
