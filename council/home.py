"""The home page: the parts that apps put on it, and what is new since a member's last visit.

A part is a function that is given the visit and returns what its template shows as `part`. An app registers its parts
in its module `home`, which its AppConfig imports:

    @home.part("benchmarks", template="benchmarks/_home.html", place=3)
    def benchmarks(visit: home.Visit) -> home.Content:
        return {"cards": submissions.cards(visit.member)}

What is new is registered in the same way, with `@home.news("Resources")`. It is one part of the page, made by council.

Two columns of the account say when the last visit was. A visit begins when the home page is opened for the first time
in half an hour, and only then is anything written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from council.accounts.models import Account
from council.models import Member
from council.registry import Registry

VISIT_MINUTES = 30
# What is new to a member who was never here before.
FIRST_VISIT_DAYS = 30
NEWS_ROWS = 5

Content = Mapping[str, Any]


@dataclass(frozen=True)
class Visit:
    """A member at the home page. What is newer than `since` is new: since the last visit, or for some weeks."""

    member: Member
    since: datetime
    is_first: bool


def visit(account: Account, *, is_noted: bool = True) -> Visit:
    """Say since when things are new to a member, and write down that a visit begins, if one does."""
    assert account.member
    now = datetime.now(UTC)
    before = account.visited_before_at
    if account.visited_at is None or account.visited_at <= now - timedelta(minutes=VISIT_MINUTES):
        before = account.visited_at
        if is_noted:
            # Of several requests at once, the first begins the visit.
            Account.objects.filter(pk=account.pk, visited_at=before).update(
                visited_at=now, visited_before_at=before
            )
    return Visit(account.member, before or now - timedelta(days=FIRST_VISIT_DAYS), is_first=before is None)


@dataclass(frozen=True)
class Part:
    """`is_wide`: takes the whole width where there is room for two beside each other."""

    template: str
    place: int
    show: Callable[[Visit], Content]
    is_wide: bool


@dataclass(frozen=True)
class Item:
    """One thing that is new: its name, the address of its page, and a few words more."""

    name: str
    address: str
    note: str = ""


@dataclass(frozen=True)
class News:
    """What is new of one kind: up to NEWS_ROWS of it, the newest first, and a line and a link for what is left out."""

    items: Sequence[Item]
    more: str = ""
    more_address: str = ""


Look = Callable[[Visit], News]

PARTS: Registry[Part] = Registry()
NEWS: Registry[Look] = Registry()


def part(
    name: str, *, template: str, place: int, is_wide: bool = False
) -> Callable[[Callable[[Visit], Content]], Callable[[Visit], Content]]:
    """Put a part on the home page. `place` is its place from the top."""

    def decorate(show: Callable[[Visit], Content]) -> Callable[[Visit], Content]:
        PARTS.add(name, Part(template, place, show, is_wide))
        return show

    return decorate


def news(title: str) -> Callable[[Look], Look]:
    """Have things of a kind listed among what is new, under a title."""

    def decorate(look: Look) -> Look:
        NEWS.add(title, look)
        return look

    return decorate


@dataclass(frozen=True)
class Shown:
    """A part as the page has it."""

    name: str
    template: str
    is_wide: bool
    content: Content


def parts(visit: Visit) -> list[Shown]:
    """Ask every part what it shows, in the order of the page."""
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
