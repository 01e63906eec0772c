"""The members' pages about benchmarks: their answers, the results, and how answers are protected."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from benchmarks import chart, definitions, results, submissions
from benchmarks.definitions import Category
from benchmarks.fields import NumberField
from benchmarks.forms import AnswersForm
from benchmarks.submissions import Submission
from council.access import MemberRequest, good_standing_required
from gamification.models import Action, PointRule

WAYS = ["GET", "HEAD", "POST"]


@require_safe
def overview(request: MemberRequest) -> HttpResponse:
    """Show the categories with the member's answers in each."""
    rule = PointRule.objects.filter(action=Action.BENCHMARK_SUBMISSION).first()
    context = {
        "cards": submissions.cards(request.member),
        "points": rule.points if rule and rule.is_in_force else 0,
        "counts_from": submissions.counts_from(request.member),
    }
    return render(request, "benchmarks/overview.html", context)


@require_http_methods(WAYS)
@good_standing_required
def answers(request: MemberRequest, category: Category) -> HttpResponse:
    """Show the form for a member's answers in a category, or store the answers."""
    member = request.member
    submission = submissions.of_category(member, category)
    form = AnswersForm(category, request.POST if request.method == "POST" else None, submission=submission)
    if request.method == "POST" and form.is_valid():
        try:
            submitted = submissions.submit(
                member=member, category=category, answers=form.answers, shown=form.cleaned_data["shown"]
            )
        except submissions.ChangedMeanwhile as error:
            # If the member sends the form again, it may replace the current answers.
            submission = submissions.of_category(member, category)
            form = form.with_shown(submission.number if submission else 0)
            form.add_error(None, str(error))
        except submissions.Refused as error:
            form.add_error(None, str(error))
        else:
            earned = f" You earned {submitted.points} points." if submitted.points else ""
            what = (
                "were received. They count from the next release on."
                if submitted.is_changed
                else "have not changed."
            )
            messages.success(request, f"Your answers about {category.label.lower()} {what}{earned}")
            return redirect("benchmarks:overview")
    context = {"category": category, "form": form, "submission": submission, **_description(category)}
    return render(request, "benchmarks/answers.html", context)


def _description(category: Category) -> dict[str, Any]:
    has_pay = any(number.is_pay_or_fee for number in definitions.number_fields(category))
    return {
        "description": definitions.DESCRIPTIONS[category],
        "pay_age_days": settings.BENCHMARK_PAY_AGE_DAYS if has_pay else 0,
    }


@require_http_methods(WAYS)
def withdraw(request: MemberRequest, category: Category) -> HttpResponse:
    """Ask whether to withdraw a member's answers, or withdraw them. Members need no good standing for this."""
    submission = submissions.of_category(request.member, category)
    if request.method != "POST":
        if submission is None:
            return redirect("benchmarks:overview")
        return render(request, "benchmarks/withdraw.html", {"category": category, "submission": submission})
    if submissions.withdraw(member=request.member, category=category):
        messages.success(request, f"Your answers about {category.label.lower()} were withdrawn.")
    return redirect("benchmarks:overview")


@require_http_methods(WAYS)
@good_standing_required
def confirm(request: MemberRequest, category: Category) -> HttpResponse:
    """Record that a member's answers are still right."""
    # A member who was sent to the sign-in page first comes back with a GET.
    if request.method == "POST" and submissions.confirm(member=request.member, category=category):
        messages.success(request, f"Thank you. We will ask about {category.label.lower()} again in a year.")
    return redirect("benchmarks:overview")


@require_safe
@good_standing_required
def comparison(request: MemberRequest, category: Category) -> HttpResponse:
    """Compare a member's answers in a category with the last release."""
    sent = submissions.of_member(request.member)
    try:
        group = results.group(request.GET.get("group", ""))
    except KeyError as error:
        raise Http404("There is no such group of companies.") from error
    found = results.of_category(category=category, group=group, own=_own(sent, category))
    context = {
        "category": category,
        "categories": list(Category),
        "submission": sent.get(category),
        "group": group,
        "groups": results.groups(_own(sent, Category.BUSINESS)),
        "own_groups": [known for known in results.groups({}) if known.dimension and _is_own(sent, known)],
        "release_date": found.release_date,
        "rows": [{"result": result, "chart": _chart(result)} for result in found.results],
        "counts_from": submissions.counts_from(request.member),
    }
    return render(request, "benchmarks/results.html", context)


def _own(sent: Mapping[Category, Submission], category: Category) -> Mapping[str, Decimal | str]:
    return sent[category].answers if category in sent else {}


def _is_own(sent: Mapping[Category, Submission], group: results.Group) -> bool:
    return _own(sent, Category.BUSINESS).get(group.dimension) == group.band


def _chart(result: results.Result) -> chart.Chart | None:
    if result.band is None or not isinstance(result.field, NumberField):
        return None
    own = result.own if isinstance(result.own, Decimal) else None
    return chart.draw(field=result.field, band=result.band, own=own)


@require_safe
def protection(request: MemberRequest) -> HttpResponse:
    """Explain how answers are protected."""
    return render(request, "benchmarks/protection.html", {"pay_age_days": settings.BENCHMARK_PAY_AGE_DAYS})
