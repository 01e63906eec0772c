"""Points for Discord activity: what is owed for XP, and paying it.

The first sight of a Discord account is a baseline. From there on, each 100 XP above the highest XP seen so far is a
unit that is owed. Units are recorded as settled whether or not the rule paid for them, so a rule that was disabled,
changed or reversed pays nothing later, and nothing twice. XP that falls owes nothing until it is above the mark again.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import connection, transaction

from council import jobs
from council.models import Member
from gamification import ledger, mee6
from gamification.mee6 import Player
from gamification.models import Action, DiscordActivity, DiscordActivityType, DiscordStanding

BATCH_MEMBERS = 1_000
SHOWN_SET_ASIDE = 20

# Members on a page of the leaderboard whose XP is not what it was, by id, in the order in which they are locked.
CHANGED = """
    SELECT member.id, given.place
      FROM unnest(%(discord_ids)s::text[], %(xp)s::int[]) WITH ORDINALITY AS given (discord_id, xp, place)
      JOIN "Member" AS member ON member."discordId" = given.discord_id
      LEFT JOIN "DiscordStanding" AS standing
        ON standing."memberId" = member.id AND standing."discordId" = given.discord_id
     WHERE standing.xp IS DISTINCT FROM given.xp
     ORDER BY member.id
"""


@dataclass
class Tally:
    """What a sync did. `set_aside` says of each player who was left out why."""

    counts: Counter[str] = field(default_factory=Counter)
    set_aside: list[str] = field(default_factory=list)

    def leave_out(self, reasons: Sequence[str]) -> None:
        self.counts["set aside"] += len(reasons)
        self.set_aside += reasons[: SHOWN_SET_ASIDE - len(self.set_aside)]


def sync(run: jobs.Run, *, guild_id: str, base_url: str) -> jobs.Counts:
    """Read the leaderboard page by page, and pay members what they are owed.

    A page is committed by itself, so a run that is killed loses nothing: the next one goes on from what was recorded.
    Raises mee6.Unreadable, and then the pages before it stay paid.
    """
    tally = Tally()
    try:
        for page in mee6.leaderboard(guild_id=guild_id, base_url=base_url):
            run.report()
            tally.counts["players"] += len(page.players)
            tally.leave_out(page.rejected)
            _sync_page(run, page.players, tally)
    finally:
        run.note(tally.set_aside)
    return tally.counts


def _sync_page(run: jobs.Run, players: Sequence[Player], tally: Tally) -> None:
    changed = _changed(players)
    tally.counts["members changed"] += len(changed)
    for first in range(0, len(changed), BATCH_MEMBERS):
        _pay_apart(run, changed[first : first + BATCH_MEMBERS], tally)


def _changed(players: Sequence[Player]) -> list[tuple[str, Player]]:
    by_id = {player.discord_id: player for player in players}
    distinct = list(by_id.values())
    with connection.cursor() as cursor:
        cursor.execute(
            CHANGED,
            {
                "discord_ids": [player.discord_id for player in distinct],
                "xp": [player.xp for player in distinct],
            },
        )
        return [(member_id, distinct[place - 1]) for member_id, place in cursor.fetchall()]


def _pay_apart(run: jobs.Run, changed: Sequence[tuple[str, Player]], tally: Tally) -> None:
    """Pay a batch in one transaction; where one of them cannot be paid, the others without that one."""
    try:
        with transaction.atomic():
            run.report()  # holds the lease until COMMIT
            paid = _pay(changed)
    except ledger.Refused as refused:
        if len(changed) == 1:
            tally.leave_out([f"Member {changed[0][0]}: {refused}"])
            return
        middle = len(changed) // 2
        _pay_apart(run, changed[:middle], tally)
        _pay_apart(run, changed[middle:], tally)
    else:
        tally.counts.update(paid)


def _pay(changed: Sequence[tuple[str, Player]]) -> dict[str, int]:
    players = dict(changed)
    # Members before anything of theirs, and in the order of their ids, as the points trigger and a deletion lock them.
    members = Member.objects.select_for_update(no_key=True).filter(pk__in=players).order_by("pk")
    linked = {
        member_id: players[member_id]
        for member_id, discord_id in members.values_list("pk", "discord_id")
        if discord_id == players[member_id].discord_id
    }
    before = {standing.member_id: standing for standing in DiscordStanding.objects.filter(member__in=linked)}
    relinked = [
        standing.pk
        for member_id, standing in before.items()
        if standing.discord_id != linked[member_id].discord_id
    ]
    DiscordStanding.objects.filter(pk__in=relinked).delete()
    standings, activities, awards = [], [], []
    for member_id, player in linked.items():
        standing = before.get(member_id)
        if standing is None or standing.pk in relinked:
            standings.append(
                DiscordStanding.baseline(member_id=member_id, discord_id=player.discord_id, xp=player.xp)
            )
            continue
        if standing.xp == player.xp:
            continue
        activities.append(_activity(standing, player))
        units = standing.see(player.xp)
        standings.append(standing)
        if units:
            awards.append(_award(standing, units))
    DiscordStanding.objects.bulk_create(
        standings,
        update_conflicts=True,
        unique_fields=["member"],
        update_fields=["xp", "highest_xp", "settled_units", "updated_at"],
    )
    DiscordActivity.objects.bulk_create(activities)
    rows = ledger.award_many(awards) if awards else []
    return {
        "first seen": len(standings) - len(activities),
        "members paid": len(rows),
        "points": sum(row.points for row in rows),
    }


def _activity(standing: DiscordStanding, player: Player) -> DiscordActivity:
    return DiscordActivity(
        member_id=standing.member_id,
        discord_id=player.discord_id,
        activity_type=DiscordActivityType.MESSAGE,
        xp_delta=player.xp - standing.xp,
        xp_total=player.xp,
    )


def _award(standing: DiscordStanding, units: int) -> ledger.Award:
    return ledger.Award(
        member_id=standing.member_id,
        action=Action.DISCORD_ACTIVITY,
        # What has been settled of this link so far: a unit is paid once, whatever is run again.
        subject=f"{standing.pk}:{standing.settled_units}",
        times=units,
        metadata={"xp": standing.xp, "units": units},
    )
