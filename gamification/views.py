"""The members' pages about points: overview, history and leaderboards."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from council.access import MemberRequest
from gamification import home, ledger, levels, statement
from gamification.leaderboard import Leaderboard, Period, Row, list_or_hide
from gamification.models import PointRule

RECENT_ROWS = 5


@require_safe
def overview(request: MemberRequest) -> HttpResponse:
    """Show the member's figures, the latest entries, and what earns points."""
    member = request.member
    rules = list(PointRule.objects.order_by("-points", "label"))
    recent = ledger.history(member=member, rows=RECENT_ROWS)
    context = {
        "standing": home.standing(member),
        "lines": statement.lines(recent, rules=rules),
        "rules": [rule for rule in rules if rule.is_in_force],
    }
    return render(request, "gamification/overview.html", context)


@require_safe
def history(request: MemberRequest) -> HttpResponse:
    """Show all entries of the member, a page at a time."""
    after = request.GET.get("after")
    try:
        place = ledger.Place.read(after) if after is not None else None
    except ledger.Refused as error:
        return render(request, "gamification/history.html", {"fault": str(error)}, status=400)
    page = ledger.history(member=request.member, after=place)
    lines = statement.lines(page, rules=PointRule.objects.all())
    context = {
        "months": statement.by_month(lines),
        "is_first": place is None,
        "next_place": page.next_place,
    }
    return render(request, "gamification/history.html", context)


def asked_period(request: HttpRequest) -> Period:
    """Read `?period=`, by default this month. Raises Http404."""
    try:
        return Period(request.GET.get("period", Period.MONTH))
    except ValueError:
        raise Http404(
            "There is no such leaderboard. There is one for this month, and one for all time."
        ) from None


@require_safe
def leaderboard(request: MemberRequest) -> HttpResponse:
    """Show the leaderboard and the member's rank. Members without good standing see only their rank."""
    member = request.member
    board = Leaderboard(asked_period(request))
    context: dict[str, Any] = {"board": board, "periods": Period, "level": levels.of(member.total_points)}
    if not member.is_in_good_standing:
        points = board.points(member)
        context |= {"points": points, "rank": board.rank(points)}
        return render(request, "gamification/leaderboard.html", context)
    top = board.top()
    standing = board.standing(member)
    around = [*standing.above, Row(standing.rank, member, standing.points), *standing.below]
    context |= {
        "points": standing.points,
        "rank": standing.rank,
        "top": top,
        "around": [] if {row.member for row in around} <= {row.member for row in top} else around,
    }
    return render(request, "gamification/leaderboard.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def privacy(request: MemberRequest) -> HttpResponse:
    """List the member on leaderboards, or hide them."""
    period = asked_period(request)
    back = reverse("gamification:leaderboard", query={"period": period})
    # A member who was sent to the sign-in page first comes back with a GET.
    if request.method == "POST":
        listed = {"yes": True, "no": False}.get(request.POST.get("listed", ""))
        if listed is None:
            raise BadRequest("`listed` must be yes or no.")
        list_or_hide(request.member, listed=listed)
        message = (
            "You are listed on leaderboards, by name."
            if listed
            else "You are hidden: no other member sees you on a leaderboard."
        )
        messages.success(request, message)
    return redirect(back)
