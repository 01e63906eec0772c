"""The demo community's points: fourteen months of them, with past dates."""

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from council import demo
from council.models import AdminRole, Member
from gamification import ledger
from gamification.models import Action, PointRule, PointTransaction

MIAS_RANK = 4
MIAS_STREAK_DAYS = 6
# Mia downloads nothing in the last QUIET_DAYS days, when she only earns the points that her streak needs.
QUIET_DAYS = 14
SATURDAY = 6
REASON = "Led the workshop on cold calls, and wrote it up for everybody."


def pay(awards: Iterable[tuple[ledger.Award, datetime]]) -> None:
    """Add a ledger row for each award, by the rules and with the given date. The ledger accepts past dates."""
    points = {rule.action: rule.points for rule in PointRule.objects.all()}
    PointTransaction.objects.bulk_create(
        PointTransaction(
            member_id=award.member_id,
            action=award.action,
            points=points[award.action] * award.times,
            metadata=award.metadata,
            idempotency_key=award.key,
            created_at=moment,
        )
        for award, moment in awards
    )


@demo.act("Points", place=8)
def points(community: demo.Community) -> None:
    introduced = [member for member in community.members if community.draw.random() < 0.8]
    awards = [
        (ledger.Award(member.pk, Action.INTRO_COMPLETED), member.created_at + timedelta(hours=3))
        for member in {community.mia.pk: community.mia, **{one.pk: one for one in introduced}}.values()
    ]
    for member in community.members:
        if member != community.mia:
            awards += _discord(community, member)
    awards += [
        (_activity(community.mia, number, units=1), moment)
        for number, moment in enumerate(_streak(community))
    ]
    pay(sorted(awards, key=lambda award: award[1]))
    # They have been paid, so the trigger does not pay them again.
    paid = [award.member_id for award, _ in awards if award.action == Action.INTRO_COMPLETED]
    Member.objects.filter(pk__in=paid).update(intro_completed=True)
    _rank_mia(community)


def _activity(member: Member, number: int, *, units: int) -> ledger.Award:
    return ledger.Award(
        member.pk,
        Action.DISCORD_ACTIVITY,
        subject=f"demo:{number}",
        times=units,
        metadata={"xp": 100 * units * (number + 1), "units": units},
    )


def _discord(community: demo.Community, member: Member) -> list[tuple[ledger.Award, datetime]]:
    """Draw the times when a member was active on Discord. Eager members get more of them."""
    draw, days = community.draw, (community.now - member.created_at).days
    times = min(int(days / 25 * community.eagerness[member.pk]), 70)
    # A few have been quiet for some weeks, and so are at risk.
    until = community.ago(draw.choice((0, 0, 0, 0, 9, 20, 45)))
    moments = sorted(community.between(member.created_at, until) for _ in range(times))
    return [
        (_activity(member, number, units=draw.choice((1, 1, 2, 3))), moment)
        for number, moment in enumerate(moments)
        if moment < community.now
    ]


def _streak(community: demo.Community) -> list[datetime]:
    """List the last weekdays, including today unless it is Saturday or Sunday."""
    moments: list[datetime] = []
    moment = community.today
    while len(moments) < MIAS_STREAK_DAYS:
        if moment.isoweekday() < SATURDAY:
            moments.append(moment)
        moment -= timedelta(days=1)
    return moments


def _rank_mia(community: demo.Community) -> None:
    """Adjust points so that Mia has the rank that the demo promises: three members above her, all others below."""
    listed = list(Member.objects.listed().exclude(pk=community.mia.pk).order_by("-total_points", "pk"))
    leaders, next_best = listed[: MIAS_RANK - 1], listed[MIAS_RANK - 1]
    mia = Member.objects.get(pk=community.mia.pk)
    wanted = {mia: next_best.total_points + 120}
    wanted |= {leader: next_best.total_points + 900 - 260 * place for place, leader in enumerate(leaders)}
    for member, total in wanted.items():
        if (missing := total - member.total_points) > 0:
            ledger.adjust(
                members=[member],
                points=missing,
                reason=REASON,
                performed_by=community.staff[AdminRole.ADMIN],
                form_key=uuid.UUID(int=community.draw.getrandbits(128)),
            )
