"""The home page: the parts that apps add to it, and what is new since a member's last visit.

A part is a function that receives the visit and returns the data that its template shows as `part`. An app registers
its parts in its module `home`, which its AppConfig imports:

    @home.part("benchmarks", template="benchmarks/_home.html", place=3)
    def benchmarks(visit: home.Visit) -> home.Content:
        return {"cards": submissions.cards(visit.member)}

An app registers its news in the same way, with `@home.news("Resources")`. All news together are one part of the page.

Two columns of the account store the times of the last two visits. A visit begins when the home page is opened more
than half an hour after the last visit began. Only then is anything written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from council.accounts.models import Account
from council.models import Member
from council.registry import Registry

VISIT_MINUTES = 30
# For a member who was never here before, everything from these days is new.
FIRST_VISIT_DAYS = 30
NEWS_ROWS = 5

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Visit:
    """A member's visit to the home page. Things newer than `since` are new to the member."""

    member: Member
    since: datetime
    is_first: bool


def visit(account: Account, *, is_noted: bool = True) -> Visit:
    """Find out since when things are new to a member. If a visit begins and `is_noted` is true, store its time."""
    assert account.member
    now = datetime.now(UTC)
    before = account.visited_before_at
    if account.visited_at is None or account.visited_at <= now - timedelta(minutes=VISIT_MINUTES):
        before = account.visited_at
        if is_noted:
            # Among concurrent requests, only the first one matches this filter and begins the visit.
            Account.objects.filter(pk=account.pk, visited_at=before).update(
                visited_at=now, visited_before_at=before
            )
    return Visit(account.member, before or now - timedelta(days=FIRST_VISIT_DAYS), is_first=before is None)


@dataclass(frozen=True)
class Part:
    """A part of the home page. `is_wide`: it takes the whole width, even where two parts fit side by side."""

    template: str
    place: int
    show: Callable[[Visit], Content]
    is_wide: bool


@dataclass(frozen=True)
class Item:
    """One new thing: its name, the address of its page, and a short note."""

    name: str
    address: str
    note: str = ""


@dataclass(frozen=True)
class News:
    """The new things of one kind: up to NEWS_ROWS items, newest first, and a text and a link for the rest."""

    items: Sequence[Item]
    more: str = ""
    more_address: str = ""


Look = Callable[[Visit], News]

PARTS: Registry[Part] = Registry()
NEWS: Registry[Look] = Registry()


def part(
    name: str, *, template: str, place: int, is_wide: bool = False
) -> Callable[[Callable[[Visit], Content]], Callable[[Visit], Content]]:
    """Add a part to the home page. Parts are shown by ascending `place`."""

    def decorate(show: Callable[[Visit], Content]) -> Callable[[Visit], Content]:
        PARTS.add(name, Part(template, place, show, is_wide))
        return show

    return decorate


def news(title: str) -> Callable[[Look], Look]:
    """List the new things of one kind on the home page, under a title."""

    def decorate(look: Look) -> Look:
        NEWS.add(title, look)
        return look

    return decorate


@dataclass(frozen=True)
class Shown:
    """A part with its content, ready for the template."""

    name: str
    template: str
    is_wide: bool
    content: Content


def parts(visit: Visit) -> list[Shown]:
    """Return every part with its content, in the order of the page."""
    ordered = sorted(PARTS.items(), key=lambda entry: entry[1].place)
    return [Shown(name, part.template, part.is_wide, part.show(visit)) for name, part in ordered]


@part("news", template="council/_news.html", place=2)
def _news(visit: Visit) -> Content:
    looks = {title: look(visit) for title, look in NEWS.items()}
    return {
        "visit": visit,
        "days": FIRST_VISIT_DAYS,
        "news": [pair for pair in looks.items() if pair[1].items],
    }
