"""The site's addresses, and one more: a page that reads one row, with which the others are compared."""

from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from council.models import Member
from council.urls import handler500  # noqa: F401  # an outage is answered 503, as by the site itself


def one(request: HttpRequest, member_id: str) -> HttpResponse:
    """Read a row by its key. This takes the least time that any page of the site can take."""
    return HttpResponse(Member.objects.get(pk=member_id).email or "")


urlpatterns = [path("one/<str:member_id>/", one), path("", include("council.urls"))]
