"""What every page of the site shows around its content."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse


def navigation(request: HttpRequest) -> dict[str, Any]:
    """Tell templates who the member is, if any, and the pages in the header: name, address, whether it is here.

    A context processor. The pages are those of `MEMBER_PAGES`.
    """
    user = getattr(request, "user", None)
    member = user.member if user and user.is_authenticated else None
    here = request.resolver_match.view_name if request.resolver_match else ""
    pages = [(label, reverse(name), name == here) for label, name in settings.MEMBER_PAGES] if member else []
    return {"member": member, "member_pages": pages, "billing_address": settings.GATEWAY_URL}
