"""The members' pages of the library: the list, a resource, a download, and a member's downloads."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from council.access import MemberRequest, good_standing_required
from council.requests import is_prefetch
from gamification import ledger
from resources import downloads, library, search, storage
from resources.forms import LibraryForm
from resources.library import Filters, Place
from resources.models import Resource

NOT_THERE = "This resource is not in the library. It may have been removed, or the address may be wrong."


@require_safe
def index(request: MemberRequest) -> HttpResponse:
    """Show a page of the library: all resources, or those that match the search and filters."""
    form = LibraryForm(request.GET)
    context: dict[str, Any] = {"form": form}
    if not form.is_valid():
        return render(request, "resources/library.html", context, status=400)
    filters = form.filters()
    after = request.GET.get("after")
    try:
        place = Place.read(after, filters) if after is not None else None
    except library.Refused as error:
        return render(request, "resources/library.html", {**context, "fault": str(error)}, status=400)
    page = library.browse(filters, member=request.member, after=place)
    is_first = place is None
    is_found = bool(page.items) or filters.narrows or not is_first
    if filters.words and not is_found and request.method == "GET" and not is_prefetch(request):
        search.count_miss(filters.words)
    context |= {
        "page": page,
        "filters": filters,
        "named_categories": form.named_categories(),
        "named_tags": form.named_tags(),
        "is_first": is_first,
        "asked": _asked(request),
        "max_ranked": search.MAX_RANKED,
        "recommended": library.recommended(member=request.member)
        if is_first and not filters.words and not filters.narrows
        else [],
    }
    return render(request, "resources/library.html", context)


def _asked(request: HttpRequest) -> str:
    """Return the query string without the place. The link to the next page adds its own place."""
    given = request.GET.copy()
    given.pop("after", None)
    for name in [name for name, value in given.items() if not value]:
        del given[name]
    return given.urlencode()


@require_safe
def resource(request: MemberRequest, resource_id: str) -> HttpResponse:
    """Show a resource with its versions and the download button."""
    return render(request, "resources/resource.html", page_of(_shown(resource_id), request.member))


def page_of(resource: Resource, member: Any) -> dict[str, Any]:
    """Return the template context for a resource's page."""
    [item] = library.items([resource], member=member)
    return {"item": item, "resource": resource, "versions": resource.versions.order_by("-number")}


def _shown(resource_id: str) -> Resource:
    found = Resource.objects.shown().find(resource_id)
    if found is None:
        raise Http404(NOT_THERE)
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@good_standing_required
def download(request: MemberRequest, resource_id: str) -> HttpResponse:
    """Record a download, and show a page that leads to the file with the header Refresh.

    A redirect would not work: the security policy (`form-action`) forbids the answer to a form to redirect to another
    site, such as a bucket or a link. The policy does not apply to Refresh.
    """
    page = reverse("resources:resource", args=[resource_id])
    # A member who had to sign in first comes back with a GET.
    if request.method != "POST" or is_prefetch(request):
        return redirect(page)
    try:
        done = downloads.download(member=request.member, resource_id=resource_id)
    except downloads.Gone:
        raise Http404(NOT_THERE) from None
    except downloads.NotInGoodStanding:
        return render(request, "council/no_good_standing.html", status=403)
    except storage.Unavailable as error:
        return _not_downloaded(request, page, str(error), status=503)
    except (downloads.Refused, ledger.Refused) as error:
        return _not_downloaded(request, page, str(error), status=409)
    response = render(request, "resources/downloaded.html", done._asdict())
    response.headers["Refresh"] = f"0; url={done.address}"
    return response


def _not_downloaded(request: HttpRequest, page: str, fault: str, *, status: int) -> HttpResponse:
    return render(request, "resources/not_downloaded.html", {"fault": fault, "back": page}, status=status)


@require_safe
def downloaded(request: MemberRequest) -> HttpResponse:
    """Show the resources that a member has downloaded."""
    after = request.GET.get("after")
    try:
        place = Place.read(after, Filters()) if after is not None else None
    except library.Refused as error:
        return render(request, "resources/downloads.html", {"fault": str(error)}, status=400)
    rows, next_place = library.downloaded(member=request.member, after=place)
    context = {
        "rows": rows,
        "next_place": next_place,
        "is_first": place is None,
        "recommended": library.recommended(member=request.member) if place is None else [],
    }
    return render(request, "resources/downloads.html", context)
