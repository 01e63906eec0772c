"""The demo community's benchmarks: answers of 48 companies, releases made from them, and reviews."""

import math
import uuid
from datetime import timedelta
from typing import Any

from benchmarks import definitions, flags, releases, review, submissions
from benchmarks.answers import BenchmarkSubmission, BenchmarkVersion
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, NumberField
from benchmarks.models import BenchmarkReview, State
from council import demo
from council.models import AdminRole, Member
from gamification import demo as points
from gamification import ledger
from gamification.models import Action

COMPANIES = 48
# Too few companies for a figure, so that the pages show this case, too.
COMPANIES_THAT_TELL_PAY = 7
RELEASES = 4
FLAGGED = 4
ODD_SENDS = 900
REASON = "The numbers are those of the example in the guide."


@demo.act("Benchmarks", place=3)
def benchmarks(community: demo.Community) -> None:
    """Write past answers with their dates, take the releases, then receive the current answers.

    Rows of the history are written directly, because the trigger would date them with the current time.
    """
    owners = [member for member in community.members[: COMPANIES + 1] if member != community.ben]
    this_month = community.now.date().replace(day=1)
    months = [this_month]
    while len(months) <= RELEASES:
        months.append((months[-1] - timedelta(days=1)).replace(day=1))
    versions = []
    for place, owner in enumerate(owners):
        for category in Category:
            if category != Category.COMPENSATION or 0 < place <= COMPANIES_THAT_TELL_PAY:
                versions += _versions(community, owner, category, place)
    BenchmarkVersion.objects.bulk_create(versions)
    BenchmarkReview.objects.bulk_create(
        BenchmarkReview(version=version, state=State.RECEIVED, created_at=version.recorded_at)
        for version in versions
    )
    for month in reversed(months[1:]):
        releases.take(month=month)
    last = {(version.member_id, version.category): version for version in versions}
    _send(community, list(last.values()))
    points.pay(
        (
            ledger.Award(
                version.member_id,
                Action.BENCHMARK_SUBMISSION,
                subject=version.category,
                metadata={"category": version.category},
            ),
            version.recorded_at,
        )
        for version in versions
        if version.number == 1
    )
    _review(community)


def _versions(
    community: demo.Community, owner: Member, category: Category, place: int
) -> list[BenchmarkVersion]:
    """Make up the versions of a company's answers. A third of the companies changed their answers later.

    Half of these did so last month, so that the newest release has new figures.
    """
    draw = community.draw
    this_month = community.now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last_month = (this_month - timedelta(days=1)).replace(day=1)
    latest = 120 if place < COMPANIES // 2 else 45
    moments = [community.between(owner.created_at + timedelta(days=5), community.ago(latest))]
    if place % 6 == 0:
        moments.append(community.between(max(moments[0], last_month), this_month))
    elif place % 3 == 0:
        moments.append(community.between(moments[0], community.ago(35)))
    size = draw.uniform(-1.5, 1.5)
    return [
        BenchmarkVersion(
            id=uuid.UUID(int=draw.getrandbits(128), version=4),
            member=owner,
            category=category,
            number=number,
            data=_answers(community, category, size),
            company_key=f"team:{owner.team_id}",
            recorded_at=moment,
        )
        for number, moment in enumerate(moments, 1)
    ]


def _answers(community: demo.Community, category: Category, size: float) -> dict[str, Any]:
    """Draw plausible answers for a company of a size, where 0 is the average. Some questions are left out."""
    draw = community.draw
    given: dict[str, Any] = {}
    for asked in definitions.FIELDS[category]:
        if not asked.is_required and draw.random() < 0.2:
            continue
        if isinstance(asked, ChoiceField):
            given[asked.name] = _choice(community, asked, size)
        elif isinstance(asked, NumberField):
            low, high = max(asked.plausible[0], 1), asked.plausible[1]
            middle = math.log(low) + (math.log(high) - math.log(low)) * 0.5
            reach = (math.log(high) - math.log(low)) * 0.1
            number = math.exp(middle + reach * (0.5 * size + draw.uniform(-1, 1)))
            given[asked.name] = round(min(max(number, low), high), min(asked.unit.decimals, 1))
    return submissions.check(category=category, answers=given)


def _choice(community: demo.Community, asked: ChoiceField, size: float) -> str:
    values = [value for value, _ in asked.choices]
    if asked.name == "annual_revenue_band":
        return values[min(max(round(3 + 1.4 * size), 0), len(values) - 1)]
    weights = [1 / (1 + place) for place in range(len(values))]
    return community.draw.choices(values, weights)[0]


def _send(community: demo.Community, versions: list[BenchmarkVersion]) -> None:
    """Store the last answers as current ones, as the gateway writes them. Five are far from all others."""
    odd = {
        (version.member_id, version.category)
        for version in [one for one in versions if one.category == Category.OPERATIONAL][1 : FLAGGED + 2]
    }
    BenchmarkSubmission.objects.bulk_create(
        BenchmarkSubmission(
            member_id=version.member_id,
            category=version.category,
            data={**version.data, "daily_sends_per_inbox": ODD_SENDS}
            if (version.member_id, version.category) in odd
            else version.data,
            submitted_at=version.recorded_at,
        )
        for version in versions
    )
    flags.receive_waiting()


def _review(community: demo.Community) -> None:
    """Have staff reject one of the odd answers, and publish the flagged answers that are not odd."""
    reviewer = community.staff[AdminRole.ADMIN]
    entries, _ = review.queue(state=State.FLAGGED)
    flagged = BenchmarkVersion.objects.filter(pk__in=[entry.number for entry in entries])
    # Order by member, because the ids of versions are random.
    odd = flagged.filter(data__daily_sends_per_inbox=ODD_SENDS).order_by("member_id")
    numbers = list(odd.values_list("pk", flat=True))
    review.reject(numbers=numbers[:1], reason=REASON, reviewer=reviewer)
    if others := {entry.number for entry in entries} - set(numbers):
        review.publish(numbers=others, reason="", reviewer=reviewer)
