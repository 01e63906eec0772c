"""Scheduled jobs for points."""

from datetime import time

from django.conf import settings

from council import jobs
from gamification import keys, leaderboard, reconciliation

SHOWN = 5


@jobs.register("refresh_leaderboard", jobs.Every(minutes=5))
def refresh_leaderboard(run: jobs.Run) -> jobs.Counts:
    """Recount the leaderboards' checkpoints, which make low ranks quick to find."""
    return {"checkpoints": leaderboard.refresh()}


@jobs.register("give_keys", jobs.Every(minutes=5))
def give_keys(run: jobs.Run) -> jobs.Counts:
    """Add the keys that the gateway's ledger rows could not get while Django was paying for the same thing."""
    given, left = keys.give()
    return {"keys given": given, "members left for later": left}


class LedgerMismatch(Exception):
    """Some members' figures differ from the ledger."""


@jobs.register("reconcile_points", jobs.Daily(at=time(3, 30)))
def reconcile_points(run: jobs.Run) -> jobs.Counts:
    """Compare every member's figures with the ledger. Fails if they differ, and repairs nothing."""
    members, found = 0, []
    for ids, differences in reconciliation.compared():
        members += len(ids)
        found += differences
        run.report()
    if found:
        raise LedgerMismatch(
            f"The figures of {len(found):,} of {members:,} members differ from the ledger: "
            f"{'; '.join(map(str, found[:SHOWN]))}{' …' if len(found) > SHOWN else ''}. "
            f"To repair them: manage.py reconcile_points --repair."
        )
    return {"members compared": members}


@jobs.register("sync_discord", jobs.Every(minutes=15), is_on=lambda: bool(settings.DISCORD_GUILD_ID))
def sync_discord(run: jobs.Run) -> jobs.Counts:
    """Read MEE6's leaderboard and pay what is owed for Discord activity."""
    from gamification import discord  # noqa: PLC0415  # with its HTTP client, which nothing else needs

    return discord.sync(run, guild_id=settings.DISCORD_GUILD_ID, base_url=settings.MEE6_URL)
