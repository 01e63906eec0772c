"""A made-up community for development: its people, and the functions with which each app adds its own data.

An act is a function that receives the community and adds rows to the database. An app registers its acts in its
module `demo`, which `manage.py seed_demo` imports:

    @demo.act("Resources and downloads", place=2)
    def library(community: demo.Community) -> None: ...

All times are relative to now. Everything else, including the ids of people and resources, is drawn from one generator
with a fixed seed, so every run makes the same community.
"""

import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.contrib.auth.hashers import make_password

from council import jobs, passwords, roles
from council.accounts.models import Account
from council.models import Admin, AdminRole, JobRun, Member, SeatTier, SubscriptionStatus, Team
from council.registry import Registry

SEED = 1_500
MONTHS = 14
COMPANIES, MEMBERS = 70, 240
PASSWORD = "correct horse"  # noqa: S105  # of the four people who can sign in, on a developer's machine
MIA, BEN = "mia@acme.example", "ben@northwind.example"
OPS, ADA = "ops@council.example", "ada@council.example"

FIRST_NAMES = (  # noqa: SIM905  # a list would take a page
    "Ana Bo Cleo Dee Eli Fay Gus Hal Ida Jo Kim Lou Max Nia Oto Pia Quinn Rosa Sven Tara Uma Vic Wren Xenia Yara Zoe "
    "Amir Bela Chen Dara Emil Farah Goran Hana Ivo Jana Kofi Lena Marek Nadia Omar Petra Ravi Sofia Tomas Vera"
).split()
LAST_NAMES = (  # noqa: SIM905
    "Adler Bauer Costa Diaz Ek Fischer Garcia Haas Ito Jensen Kaya Lind Moreau Novak Okafor Patel Quist Rossi Silva "
    "Tanaka Ueda Vogel Weber Xu Young Zeman Oyelaran Petrov Sato Larsen Mbeki Nguyen"
).split()
COMPANY_NAMES = (  # noqa: SIM905
    "Acme Northwind Bluefin Cobalt Dovetail Ember Foxglove Granite Harbor Ironwood Juniper Kestrel Lantern Meridian "
    "Nimbus Orchard Pinnacle Quarry Redwood Summit Tidewater Umbra Vantage Willow Yarrow Zephyr Anchor Beacon Cedar "
    "Delta Elm Falcon Garnet Hazel Indigo"
).split()
COMPANY_KINDS = ("Outbound", "Growth")
STATUSES = {
    SubscriptionStatus.ACTIVE: 82,
    SubscriptionStatus.TRIALING: 6,
    SubscriptionStatus.CANCELLED: 6,
    SubscriptionStatus.PAST_DUE: 4,
    SubscriptionStatus.NONE: 2,
}


@dataclass
class Community:
    """The data that the acts share. `members` begins with the owners of the companies, Mia first and Ben second.

    `eagerness` maps a member's id to how active the member is.
    """

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    draw: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311  # nothing secret
    members: list[Member] = field(default_factory=list)
    eagerness: dict[str, float] = field(default_factory=dict)
    staff: dict[AdminRole, Account] = field(default_factory=dict)

    def id(self) -> str:
        """Draw an id in the format of `cuid`."""
        return "c" + "".join(self.draw.choices(string.ascii_lowercase + string.digits, k=24))

    def ago(self, days: float) -> datetime:
        return self.now - timedelta(days=days)

    def between(self, begin: datetime, end: datetime) -> datetime:
        return begin + (end - begin) * self.draw.random()

    @property
    def today(self) -> datetime:
        """A time today (UTC) that has already passed."""
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        return midnight + (self.now - midnight) / 2

    @property
    def mia(self) -> Member:
        return self.members[0]

    @property
    def ben(self) -> Member:
        return self.members[1]


@dataclass(frozen=True)
class Act:
    place: int
    run: Callable[[Community], None]


ACTS: Registry[Act] = Registry()


def act(name: str, *, place: int) -> Callable[[Callable[[Community], None]], Callable[[Community], None]]:
    """Register an act. Acts run by ascending `place`: the people at 1, everybody's points at 8, the jobs at 9."""

    def decorate(run: Callable[[Community], None]) -> Callable[[Community], None]:
        ACTS.add(name, Act(place, run))
        return run

    return decorate


def acts() -> list[tuple[str, Callable[[Community], None]]]:
    """List the acts in the order in which they run."""
    return [(name, one.run) for name, one in sorted(ACTS.items(), key=lambda entry: entry[1].place)]


@act("Companies and members", place=1)
def people(community: Community) -> None:
    names = [f"{name} {kind}" for kind in COMPANY_KINDS for name in COMPANY_NAMES]
    teams = [
        Team(
            id=community.id(),
            name=name,
            stripe_customer_id=f"cus_demo_{number}",
            subscription_status=SubscriptionStatus.ACTIVE,
            owner_seat_count=1,
            created_at=community.ago(MONTHS * 30),
        )
        for number, name in enumerate(names[:COMPANIES])
    ]
    Team.objects.bulk_create(teams)
    password = hashed()
    for number in range(MEMBERS):
        is_owner = number < COMPANIES
        team = teams[number] if is_owner else community.draw.choice(teams)
        community.members.append(_member(community, number, team, is_owner=is_owner, password=password))
    Member.objects.bulk_create(community.members)
    for name, role in ((OPS, AdminRole.ADMIN), (ADA, AdminRole.SUPER_ADMIN)):
        admin = Admin.objects.create(id=community.id(), email=name, password_hash=password, role=role)
        account = Account.objects.create(username=admin.pk, admin=admin, password=make_password(None))
        roles.assign(account, role)
        community.staff[role] = account
    for number, member in enumerate((community.mia, community.ben)):
        Account.objects.create(
            username=member.pk,
            member=member,
            password=make_password(None),
            visited_at=community.ago(6 + number),
        )


def hashed() -> str:
    """Hash the demo password as the gateway does."""
    encoded = passwords.Argon2Hasher().encode(PASSWORD, "the-demo-s-salt!")
    return encoded.removeprefix(passwords.DJANGO_PREFIX)


def _member(community: Community, number: int, team: Team, *, is_owner: bool, password: str) -> Member:
    draw = community.draw
    first, last = FIRST_NAMES[number % len(FIRST_NAMES)], draw.choice(LAST_NAMES)
    [status] = draw.choices(list(STATUSES), weights=list(STATUSES.values()))
    domain = f"{team.name.lower().replace(' ', '-')}.example"
    email = f"{first}.{last}.{number}@{domain}".lower()
    joined = community.ago(draw.triangular(20, MONTHS * 30, MONTHS * 30 - 40))
    if is_owner:
        status, joined = SubscriptionStatus.ACTIVE, community.ago(MONTHS * 30 - number / 2)
    if number == 0:
        first, last, email = "Mia", "Meyer", MIA
    if number == 1:
        first, last, email, status = "Ben", "Becker", BEN, SubscriptionStatus.PAST_DUE
    is_past_due = status == SubscriptionStatus.PAST_DUE
    member = Member(
        id=community.id(),
        email=email,
        first_name=first,
        last_name=last,
        company=team.name,
        job_title="Founder" if is_owner else draw.choice(("Head of Growth", "SDR", "Account manager")),
        team=team,
        seat_tier=SeatTier.OWNER if is_owner else SeatTier.TEAM_MEMBER,
        is_primary_owner=is_owner,
        is_team_admin=is_owner,
        subscription_status=status,
        created_at=joined,
        current_period_end=community.ago(4 if is_past_due else draw.uniform(-28, -1)),
        payment_failed_at=community.ago(draw.uniform(2, 20)) if is_past_due else None,
        password_hash=password if number < 2 else None,
        leaderboard_visible=number < 2 or draw.random() > 0.05,
    )
    community.eagerness[member.pk] = draw.paretovariate(1.6)
    return member


@act("Runs of jobs", place=9)
def runs(community: Community) -> None:
    """Make up the runs of the last seven days, one of them failed, and run every job once."""
    past = []
    for name in jobs.JOBS:
        for day in range(1, 8):
            has_failed = (name, day) == ("compute_figures", 3)
            began = community.ago(day)
            past.append(
                JobRun(
                    job=name,
                    started_at=began,
                    lease_until=began,
                    ended_at=began + timedelta(seconds=community.draw.uniform(0.2, 4)),
                    outcome=JobRun.Outcome.FAILED if has_failed else JobRun.Outcome.DONE,
                    error="OperationalError: canceling statement due to statement timeout"
                    if has_failed
                    else None,
                    counts={},
                    notes=[],
                    host="demo:1",
                )
            )
    JobRun.objects.bulk_create(past)
    for job in jobs.JOBS.values():
        if job.is_on():
            jobs.run(job)
