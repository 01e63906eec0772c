"""Points for Discord activity: compute what is owed for XP, and pay it.

The XP of a Discord account when it is first seen is its baseline. Each full 100 XP between the baseline and the highest
XP seen is a unit, and is owed once. A unit is recorded as settled whether or not the rule paid for it, so it is not
paid later if the rule was disabled. If XP falls, nothing is owed until it exceeds its highest value again.
"""

import time
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

from django.db import connection, transaction

from council import jobs
from council.models import Member
from council.postgres.fields import cuid
from gamification import ledger, mee6
from gamification.mee6 import Page, Player
from gamification.models import Action, DiscordActivityType, DiscordStanding

# How many players one statement compares, and how many members one transaction pays.
COMPARED_PLAYERS = 20_000
BATCH_MEMBERS = 1_000
PAGES_AHEAD = 20
REPORT_SECONDS = 30
SHOWN_SET_ASIDE = 20

# Finds which of the given players are members whose XP has changed, in the order in which members are locked.
CHANGED = """
    SELECT member.id, given.place
      FROM unnest(%(discord_ids)s::text[], %(xp)s::int[])
           WITH ORDINALITY AS given (discord_id, xp, place)
      JOIN "Member" AS member ON member."discordId" = given.discord_id
      LEFT JOIN "DiscordStanding" AS standing
        ON standing."memberId" = member.id AND standing."discordId" = given.discord_id
     WHERE standing.xp IS DISTINCT FROM given.xp
     ORDER BY member.id
"""
# One statement for a batch: Django's bulk_create and bulk_update take ten times as long in Python.
SEEN = """
    WITH given AS (
        SELECT *
          FROM unnest(%(ids)s::text[], %(xp)s::int[], %(highest_xp)s::int[], %(settled_units)s::int[],
                      %(activity_ids)s::text[], %(deltas)s::int[])
               AS given (id, xp, highest_xp, settled_units, activity_id, delta)
    ), seen AS (
        UPDATE "DiscordStanding" AS standing
           SET xp = given.xp,
               "highestXp" = given.highest_xp,
               "settledUnits" = given.settled_units,
               "updatedAt" = now() AT TIME ZONE 'UTC'
          FROM given
         WHERE standing.id = given.id
        RETURNING standing."memberId", standing."discordId", given.activity_id, given.delta, given.xp
    )
    INSERT INTO "DiscordActivity" (id, "memberId", "discordId", "activityType", "xpDelta", "xpTotal")
    SELECT activity_id, "memberId", "discordId", %(activity_type)s::"DiscordActivityType", delta, xp
      FROM seen
"""


@dataclass
class Tally:
    """The counts of a sync. `set_aside` says why players were left out."""

    counts: Counter[str] = field(default_factory=Counter)
    set_aside: list[str] = field(default_factory=list)

    def leave_out(self, reasons: Sequence[str]) -> None:
        self.counts["set aside"] += len(reasons)
        self.set_aside += reasons[: SHOWN_SET_ASIDE - len(self.set_aside)]


def sync(run: jobs.Run, *, guild_id: str, base_url: str) -> jobs.Counts:
    """Read the leaderboard page by page, and pay members what they are owed.

    Each batch of members is committed separately, so a killed run loses nothing: the next run continues from what was
    recorded. If a page is unreadable, pays for the pages before it, then raises mee6.Unreadable.
    """
    tally = Tally()
    players: list[Player] = []
    reported_at = time.monotonic()
    try:
        with closing(_read_ahead(mee6.leaderboard(guild_id=guild_id, base_url=base_url))) as pages:
            for page in pages:
                if time.monotonic() - reported_at > REPORT_SECONDS:
                    run.report()
                    reported_at = time.monotonic()
                tally.counts["players"] += len(page.players)
                tally.leave_out(page.rejected)
                players += page.players
                if len(players) >= COMPARED_PLAYERS:
                    _settle(run, players, tally)
                    players = []
        _settle(run, players, tally)
    except mee6.Unreadable:
        _settle(run, players, tally)
        raise
    finally:
        run.note(tally.set_aside)
    return tally.counts


def _read_ahead(pages: Iterator[Page]) -> Generator[Page]:
    """Read pages in a thread, one after the other, while the database works on the pages before them."""
    with ThreadPoolExecutor(1) as thread:
        ahead = deque(thread.submit(next, pages, None) for _ in range(PAGES_AHEAD))
        try:
            while (page := ahead.popleft().result()) is not None:
                ahead.append(thread.submit(next, pages, None))
                yield page
        finally:
            thread.shutdown(cancel_futures=True)


def _settle(run: jobs.Run, players: Sequence[Player], tally: Tally) -> None:
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
                # Arrays as text: of a list, psycopg would check for each value whether it needs quotes.
                "discord_ids": f"{{{','.join(player.discord_id for player in distinct)}}}",
                "xp": f"{{{','.join(str(player.xp) for player in distinct)}}}",
            },
        )
        return [(member_id, distinct[place - 1]) for member_id, place in cursor.fetchall()]


def _pay_apart(run: jobs.Run, changed: Sequence[tuple[str, Player]], tally: Tally) -> None:
    """Pay a batch in one transaction. If a member cannot be paid, halve the batch until only they are left out."""
    try:
        with transaction.atomic():
            run.report()  # keeps the job's lease until COMMIT
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
    # Lock members before their other rows, and by id, in the same order as the points trigger and a deletion.
    members = Member.objects.select_for_update(no_key=True).filter(pk__in=players).order_by("pk")
    linked = {
        member_id: players[member_id]
        for member_id, discord_id in members.values_list("pk", "discord_id")
        if discord_id == players[member_id].discord_id
    }
    before = {standing.member_id: standing for standing in DiscordStanding.objects.filter(member__in=linked)}
    relinked, first_seen, moved, deltas, awards = [], [], [], [], []
    for member_id, player in linked.items():
        standing = before.get(member_id)
        if standing is None or standing.discord_id != player.discord_id:
            if standing:
                relinked.append(standing.pk)
            first_seen.append(
                DiscordStanding.baseline(member_id=member_id, discord_id=player.discord_id, xp=player.xp)
            )
        elif standing.xp != player.xp:
            deltas.append(player.xp - standing.xp)
            units = standing.see(player.xp)
            moved.append(standing)
            if units:
                awards.append(_award(standing, units))
    if first_seen:
        DiscordStanding.objects.filter(pk__in=relinked).delete()
        DiscordStanding.objects.bulk_create(first_seen)
    if moved:
        _write(moved, deltas)
    rows = ledger.award_many(awards) if awards else []
    return {
        "first seen": len(first_seen),
        "members paid": len(rows),
        "points": sum(row.points for row in rows),
    }


def _write(standings: Sequence[DiscordStanding], deltas: Sequence[int]) -> None:
    """Update the standings, and add a row of activity for each."""
    with connection.cursor() as cursor:
        cursor.execute(
            SEEN,
            {
                "ids": [standing.pk for standing in standings],
                "xp": [standing.xp for standing in standings],
                "highest_xp": [standing.highest_xp for standing in standings],
                "settled_units": [standing.settled_units for standing in standings],
                "activity_ids": [cuid() for _ in standings],
                "deltas": list(deltas),
                "activity_type": DiscordActivityType.MESSAGE,
            },
        )


def _award(standing: DiscordStanding, units: int) -> ledger.Award:
    return ledger.Award(
        member_id=standing.member_id,
        action=Action.DISCORD_ACTIVITY,
        # The units settled for this link so far, so that a repeated run does not pay a unit again.
        subject=f"{standing.pk}:{standing.settled_units}",
        times=units,
        metadata={"xp": standing.xp, "units": units},
    )
