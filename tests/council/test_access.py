"""Which addresses a sign-in may lead to, and what the guard of a page leaves as it is."""

import pytest
from django.http import HttpResponse
from django.test import RequestFactory
from django.views.decorators.csrf import csrf_exempt

from council.access import MemberRequest, good_standing_required, is_page

pytestmark = pytest.mark.any_server


def of_length(length: int) -> str:
    return "/membership/?".ljust(length, "x")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("/membership/", True),
        ("/membership/?a=1#b", True),
        (of_length(2_000), True),
        (of_length(2_001), False),
        ("/nowhere/", False),
        ("", False),
        ("/sign-out/", False),
        ("/admin/logout/", False),
        ("http://testserver/membership/", True),
        ("http://[/membership/", False),
        ("http://elsewhere.example/membership/", False),
    ],
)
def test_a_sign_in_leads_to_pages_of_this_site_only(address: str, expected: bool) -> None:
    assert is_page(RequestFactory().get("/sign-in/"), address) is expected


def test_a_sign_in_over_https_does_not_lead_off_it() -> None:
    request = RequestFactory().get("/sign-in/", secure=True)
    assert not is_page(request, "http://testserver/membership/")
    assert is_page(request, "https://testserver/membership/")


def test_the_guard_of_a_page_keeps_how_the_page_was_marked() -> None:
    @csrf_exempt
    def hook(request: MemberRequest) -> HttpResponse:
        return HttpResponse()

    assert good_standing_required(hook).csrf_exempt  # type: ignore[attr-defined]
