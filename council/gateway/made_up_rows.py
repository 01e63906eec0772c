"""Made-up members and related rows, as lines for COPY, similar to production in size, shape and skew.

Most members left or never paid. A few teams are large and most are small. A few members do most things. Ids begin
with a counter, as cuids begin with the time, so that indexes grow at one end. The hashes match no password.
"""

import random
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

STATUSES = ["ACTIVE"] * 46 + ["CANCELLED"] * 28 + ["NONE"] * 17 + ["PAST_DUE"] * 5 + ["TRIALING"] * 4
FIRST = (
    "Ada", "Ben", "Chloe", "Dev", "Ella", "Finn", "Grace", "Hugo", "Ines", "Jon", "Kira", "Liam", "Mia", "Noah", "Olga",
    "Paul", "Quinn", "Rosa", "Sam", "Tara", "Uma", "Vik",
)  # fmt: skip
LAST = (
    "Abe", "Brown", "Cohen", "Diaz", "Evans", "Fox", "Gupta", "Hall", "Ito", "Jones", "Khan", "Lee", "Meyer", "Nunez",
    "Okafor", "Patel", "Quist", "Ruiz", "Smith",
)  # fmt: skip
COMPANIES = (
    "Acme", "Beacon", "Cobalt", "Delta", "Ember", "Fathom", "Granite", "Harbor", "Indigo", "Juniper", "Keystone",
    "Lumen", "Meridian",
)  # fmt: skip
JOBS = (
    "Founder",
    "Head of Growth",
    "SDR Manager",
    "Account Executive",
    "GTM Engineer",
    "RevOps Lead",
    "Copywriter",
)
REFERRALS = ("LinkedIn", "A friend", "Podcast", "Newsletter", "Search", r"\N")
EVENTS = (
    "invoice.paid",
    "customer.subscription.updated",
    "checkout.session.completed",
    "invoice.payment_failed",
)
ACTIONS = ("MEMBER_UPDATED", "SUBSCRIPTION_CHANGED", "INTRO_COMPLETED", "ROLE_SYNCED", "LOGIN")
POINTS = (
    ("resource_download", 5),
    ("discord_activity", 3),
    ("benchmark_submission", 50),
    ("intro_completed", 25),
)
HISTORY_DAYS = 1100
VARIANTS = 4096
NULL = r"\N"

# Measured: the bytes of a member's row and related rows, with their indexes.
BYTES_A_MEMBER = 1100
MEMBERS_A_TEAM = 12
EVENTS_A_MEMBER = AUDITS_A_MEMBER = 0.5
POINTS_A_MEMBER = 3
HASH = "$argon2id$v=19$m=19456,t=2,p=1$"


MEMBER = (
    "id", "discordId", "discordUsername", "discordAvatar", "stripeCustomerId", "email", "firstName", "lastName",
    "company", "jobTitle", "linkedInUrl", "referralSource", "subscriptionStatus", "seatTier", "currentPeriodEnd",
    "introCompleted", "introCompletedAt", "introMessageId", "teamId", "isTeamAdmin", "createdAt", "updatedAt",
    "passwordHash", "lastGuidanceDmAt", "isPrimaryOwner", "paymentFailedAt",
)  # fmt: skip
TEAM = (
    "id", "name", "stripeCustomerId", "stripeSubscriptionId", "subscriptionStatus", "ownerSeatCount", "teamSeatCount",
    "createdAt", "updatedAt",
)  # fmt: skip


class Batch(NamedTuple):
    """Rows of one table, as lines for COPY. `rows` is roughly how many, for showing progress."""

    table: str
    columns: tuple[str, ...]
    lines: Iterable[str]
    rows: int


class MadeUpRows:
    """The lines of each table, for a number of members. The same seed and `now` give the same rows."""

    def __init__(self, members: int, *, now: datetime, seed: int = 5) -> None:
        self.members = members
        self.teams = max(members // MEMBERS_A_TEAM, 1)
        self.random = random.Random(seed)  # noqa: S311
        self.moments = [
            self._moment(now - timedelta(days=HISTORY_DAYS * (1 - step / VARIANTS)))
            for step in range(VARIANTS)
        ]
        self.coming = [self._moment(now + timedelta(days=30 * step / VARIANTS)) for step in range(VARIANTS)]
        self.hashes = [f"{HASH}{self._hex(22)}${self._hex(43)}" for _ in range(VARIANTS)]
        self.avatars = [self._hex(32) for _ in range(VARIANTS)]

    def batches(self) -> Iterator[Batch]:
        """Yield the tables in an order that suits their foreign keys."""
        events = max(int(self.members * EVENTS_A_MEMBER), 1)
        audits = max(int(self.members * AUDITS_A_MEMBER), 1)
        points = self.members * POINTS_A_MEMBER
        yield Batch("Team", TEAM, self._team(), self.teams)
        yield Batch("Member", MEMBER, self._member(), self.members)
        yield Batch(
            "PendingInvite",
            ("id", "teamId", "seatTier", "token", "createdAt", "createdBy", "inviteeEmail"),
            self._pending_invite(),
            self.teams,
        )
        yield Batch(
            "StripeEvent",
            ("id", "eventId", "type", "processedAt", "payload"),
            self._stripe_event(events),
            events,
        )
        yield Batch(
            "AuditLog",
            ("id", "action", "entityType", "entityId", "details", "createdAt"),
            self._audit_log(audits),
            audits,
        )
        yield Batch(
            "PointTransaction",
            ("id", "memberId", "action", "points", "createdAt"),
            self._point_transaction(points),
            points,
        )
        yield Batch("Admin", ("id", "email", "passwordHash", "role", "updatedAt"), self._few("Admin"), 0)
        yield Batch("FeatureFlag", ("id", "key", "enabled", "updatedAt"), self._few("FeatureFlag"), 0)
        yield Batch(
            "EmailTemplate", ("id", "name", "subject", "body", "updatedAt"), self._few("EmailTemplate"), 0
        )
        yield Batch(
            "ReconciliationRun",
            ("id", "triggeredBy", "membersChecked", "teamsChecked", "startedAt"),
            self._few("ReconciliationRun"),
            0,
        )

    @staticmethod
    def _moment(moment: datetime) -> str:
        return moment.isoformat(sep=" ", timespec="milliseconds")

    def _hex(self, digits: int) -> str:
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"

    def _id(self, letter: str, number: int) -> str:
        """Return the id of row `number` of a table: 25 characters, always the same."""
        return f"c{letter}{number:09d}{(number * 2654435761 + 97) % 16**14:014x}"

    def _some(self, of: int) -> int:
        """Draw a random number below `of`. Small numbers are far more frequent."""
        return int(of * self.random.random() ** 3)

    def _team(self) -> Iterator[str]:
        for number in range(self.teams):
            moment = self.moments[int(number / self.teams * VARIANTS)]
            status = STATUSES[int(self.random.random() * len(STATUSES))]
            company = f"{COMPANIES[number % len(COMPANIES)]} {number}"
            seats = 1 + int(20 * self.random.random() ** 4)
            yield (
                f"{self._id('t', number)}\t{company}\tcus_team{number:08d}\tsub_{number:010d}\t{status}\t1\t{seats}\t"
                f"{moment}\t{moment}\n"
            )

    def _member(self) -> Iterator[str]:
        draw, null, count, last = self.random.random, NULL, self.members, VARIANTS - 1
        for number in range(count):
            lot = draw()
            variant = int(lot * VARIANTS)
            # More members join every year.
            joined = int((number / count) ** 0.6 * last)
            created, updated = self.moments[joined], self.moments[joined + int((last - joined) * lot)]
            status = STATUSES[int(draw() * 100)]
            pays = status in {"ACTIVE", "TRIALING", "PAST_DUE"}
            first, name = FIRST[number % 22], LAST[variant % 19]
            team, tier = null, "INDIVIDUAL" if pays else null
            is_admin = is_owner = "f"
            if pays and draw() < 0.5:
                team = self._id("t", int(self.teams * draw() ** 2))
                tier = "TEAM_MEMBER"
                if draw() < 0.1:
                    tier, is_admin, is_owner = "OWNER", "t", "t"
            discord = draw() < 0.85
            has_met = pays and draw() < 0.7
            yield (
                f"{self._id('m', number)}\t{f'{10**17 + number * 7919}' if discord else null}\t"
                f"{f'{first.lower()}{number}' if discord else null}\t{self.avatars[variant] if discord else null}\t"
                f"{f'cus_{number:014d}' if pays or lot < 0.5 else null}\t"
                f"{first.lower()}.{name.lower()}{number}@example.com\t"
                f"{first}\t{name}\t{COMPANIES[variant % 13]} {variant % 997}\t{JOBS[variant % 7]}\t"
                f"{f'https://www.linkedin.com/in/{first}-{name}-{number}' if lot < 0.5 else null}\t"
                f"{REFERRALS[variant % 6]}\t"
                f"{status}\t{tier}\t{self.coming[variant] if pays else null}\t{'t' if has_met else 'f'}\t"
                f"{updated if has_met else null}\t{f'{10**18 + number * 31}' if has_met else null}\t{team}\t"
                f"{is_admin}\t"
                f"{created}\t{updated}\t{self.hashes[variant] if lot < 0.92 else null}\t"
                f"{updated if lot < 0.3 else null}\t{is_owner}\t{updated if status == 'PAST_DUE' else null}\n"
            )

    def _pending_invite(self) -> Iterator[str]:
        for number in range(self.teams):
            moment = self.moments[int(number / self.teams * VARIANTS)]
            yield (
                f"{self._id('i', number)}\t{self._id('t', int(self.teams * self.random.random() ** 2))}\tTEAM_MEMBER\t"
                f"{self._hex(32)}{number:08d}\t{moment}\t{self._id('m', self._some(self.members))}\t"
                f"invited{number}@example.com\n"
            )

    def _stripe_event(self, count: int) -> Iterator[str]:
        for number in range(count):
            variant = int(self.random.random() * VARIANTS)
            member = self._some(self.members)
            kind = EVENTS[variant % 4]
            yield (
                f"{self._id('s', number)}\tevt_{number:016d}\t{kind}\t{self.moments[int(number / count * VARIANTS)]}\t"
                f'{{"type": "{kind}", "data": {{"object": {{"customer": "cus_{member:014d}", "amount": {variant * 10}, '
                f'"currency": "usd", "status": "paid", "lines": ["{self.avatars[variant]}"]}}}}}}\n'
            )

    def _audit_log(self, count: int) -> Iterator[str]:
        for number in range(count):
            variant = int(self.random.random() * VARIANTS)
            yield (
                f"{self._id('l', number)}\t{ACTIONS[variant % 5]}\tMember\t{self._id('m', self._some(self.members))}\t"
                f'{{"by": "gateway", "request": "{self.avatars[variant]}"}}\t'
                f"{self.moments[int(number / count * VARIANTS)]}\n"
            )

    def _point_transaction(self, count: int) -> Iterator[str]:
        for number in range(count):
            action, points = POINTS[int(4 * self.random.random() ** 2)]
            moment = self.moments[int((number / count) ** 0.7 * (VARIANTS - 1))]
            yield (
                f"{self._id('p', number)}\t{self._id('m', self._some(self.members))}\t{action}\t{points}\t{moment}\n"
            )

    def _few(self, table: str) -> Iterator[str]:
        """Yield the lines of a table whose size does not depend on the number of members."""
        moment = self.moments[-1]
        match table:
            case "Admin":
                for number in range(12):
                    hashed = self.hashes[number]
                    yield f"{self._id('a', number)}\tstaff{number}@council.example\t{hashed}\tADMIN\t{moment}\n"
            case "FeatureFlag":
                for number in range(20):
                    yield f"{self._id('f', number)}\tflag-{number}\tt\t{moment}\n"
            case "EmailTemplate":
                for number in range(12):
                    yield f"{self._id('e', number)}\ttemplate-{number}\tSubject {number}\tBody {number}\t{moment}\n"
            case "ReconciliationRun":
                for number in range(365):
                    yield f"{self._id('r', number)}\tcron\t{self.members}\t{self.teams}\t{self.moments[number * 11]}\n"
