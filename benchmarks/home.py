"""The home page's parts about benchmarks: the member's answers in each category, and a new release."""

from django.urls import reverse

from benchmarks import releases, submissions
from council import home


@home.part("benchmarks", template="benchmarks/_home.html", place=3)
def _categories(visit: home.Visit) -> home.Content:
    cards = submissions.cards(visit.member)
    return {"cards": cards, "done": sum(card.submission is not None for card in cards)}


@home.news("Benchmarks")
def _release(visit: home.Visit) -> home.News:
    """Announce the newest release to members who may see it."""
    newest = releases.latest() if visit.member.is_in_good_standing else None
    if newest is None or newest.taken_at <= visit.since:
        return home.News([])
    return home.News([home.Item(str(newest), reverse("benchmarks:overview"))])
