"""After any sequence of actions on the ledger, members' figures follow the product's rules.

Hypothesis makes up sequences of actions by Django, the gateway and operators on a real database. After each action,
Member is compared with a model of the rules (points_model.py). The suite always tries the same few dozen sequences. To
try more, and others:

    TRUTH_EXAMPLES=2000 python -m pytest -n 0 tests/gamification/test_truth.py
"""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from itertools import count
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from council.accounts.models import Account
from council.models import Member
from gamification import ledger
from gamification.models import Action
from tests.databases import Database
from tests.gamification.points_model import Entry, Figures, Model, figures

EXAMPLES = int(os.environ.get("TRUTH_EXAMPLES", "0"))
ZONES = ["UTC", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati"]
MEMBER_IDS = ["ma", "mb", "mc", "md"]
AWARDED = [Action.INTRO_COMPLETED, Action.RESOURCE_DOWNLOAD, Action.DISCORD_ACTIVITY]
RULES = {"intro_completed": 25, "benchmark_submission": 50, "resource_download": 5, "discord_activity": 1}
FORMS = [uuid.UUID(int=number) for number in range(2)]
REASON = "Helped at the meetup"

FIGURES = """
SELECT member.id,
       member."totalPoints", member."pointsMonth", member."monthPoints", member."lastActiveAt", member."currentStreak",
       ledger.total_points, ledger.points_month, ledger.month_points, ledger.last_active_at, ledger.streak
  FROM "Member" AS member
  LEFT JOIN points_by_ledger(ARRAY(SELECT id FROM "Member")) AS ledger ON ledger.member_id = member.id
"""
ENTRIES = """
SELECT id, "memberId", action, points, "createdAt", "idempotencyKey", "reversesId" FROM "PointTransaction"
"""
COLUMNS = 'id, "memberId", action, points, "idempotencyKey", "reversesId"'
REFUSALS = (
    psycopg.errors.IntegrityError,
    psycopg.errors.NumericValueOutOfRange,
    psycopg.errors.LockNotAvailable,
)


@dataclass
class Bench:
    """The database and the sessions, which all sequences share."""

    database: Database
    observer: psycopg.Connection
    sessions: dict[str, psycopg.Connection]
    staff: Account


@dataclass
class Open:
    """An open transaction, with the rows that it has added and the members that it has deleted."""

    session: psycopg.Connection
    reads_committed: bool
    added: list[Entry] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)

    @property
    def members(self) -> set[str]:
        return {entry.member for entry in self.added} | self.deleted

    @property
    def once(self) -> set[str]:
        return set().union(*(entry.once for entry in self.added))


def quick(session: psycopg.Connection) -> psycopg.Connection:
    """Set a short lock timeout: if an open transaction blocks the session, nobody will end it."""
    session.execute("SET lock_timeout = '20ms'")
    return session


@pytest.fixture
def bench(migrated: Database) -> Iterator[Bench]:
    with ExitStack() as stack:
        connection = stack.enter_context(migrated.as_default_connection())
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '20ms'")
        sessions = {
            zone: quick(stack.enter_context(migrated.connect(options=f"-c TimeZone={zone}")))
            for zone in ZONES
        }
        observer = stack.enter_context(migrated.connect())
        yield Bench(migrated, observer, sessions, Account.objects.create(username="sam", is_staff=True))


# The days of a sequence are near one of these, so that they are close together: ends of months and of a year, on all
# weekdays. All are years before the columns' default.
ANCHORS = [
    date(2013, 1, 31),
    date(2014, 1, 31),
    date(2015, 1, 31),
    date(2016, 1, 31),
    date(2013, 12, 31),
    date(2021, 1, 30),
    date(2022, 12, 31),
]
OFFSETS = st.one_of(*[st.integers(-4, 4)] * 15, st.just(400))
# The last time is rounded to the next day.
TIMES = st.sampled_from([clock(0), clock(12, 30), clock(23, 59, 59, 999_000), clock(23, 59, 59, 999_600)])
MOMENTS = st.one_of(st.none(), *[st.tuples(OFFSETS, TIMES)] * 5)
POINTS = st.one_of(*[st.integers(-40, 40)] * 15, st.sampled_from([0, 2**31 - 1, -(2**31)]))
NUMBERS = st.integers(0, 40)


@dataclass(frozen=True)
class Given:
    """A row to write. Numbers stand for members and rows that exist at the time."""

    member: int
    action: str
    points: int
    day_and_time: tuple[int, clock] | None
    key: int | None = None
    reverses: int | None = None


ACTIVITY = st.builds(
    Given,
    member=st.integers(0, 39),
    action=st.just("event_attended"),
    points=st.integers(1, 20),
    day_and_time=MOMENTS,
)
SMALL = st.builds(
    Given,
    member=NUMBERS,
    action=st.sampled_from([*Action.values, "event_attended"]),
    points=st.integers(-40, 40),
    day_and_time=MOMENTS,
)
ANY = st.builds(
    Given,
    member=NUMBERS,
    action=st.sampled_from([*Action.values, "event_attended"]),
    points=POINTS,
    day_and_time=MOMENTS,
    key=st.one_of(*[st.none()] * 4, NUMBERS),
    reverses=st.one_of(*[st.none()] * 3, NUMBERS),
)
ROWS = st.lists(ANY, min_size=1, max_size=5)
SMALL_ROWS = st.lists(SMALL, min_size=1, max_size=4)
AWARDS = st.tuples(
    NUMBERS,
    st.sampled_from(AWARDED),
    st.sampled_from(["", "r1", "r2"]),
    st.sampled_from([1, 1, 3, 2**31 - 1]),
)


def rounded(moment: datetime) -> datetime:
    """Round to milliseconds, as the column does."""
    return moment.replace(microsecond=0) + timedelta(milliseconds=round(moment.microsecond / 1000))


class Truth(RuleBasedStateMachine):
    """Compare members' figures with the model's."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench = bench
        self.gateway = bench.sessions["UTC"]
        self.model = Model(rules={action: (points, True) for action, points in RULES.items()})
        self.open: list[Open] = []
        self.numbers = count()
        self.anchor = ANCHORS[0]

    @initialize(anchor=st.sampled_from(ANCHORS))
    def begin_anew(self, anchor: date) -> None:
        self.anchor = anchor
        self.gateway.execute('DELETE FROM "Member"')
        for action, points in RULES.items():
            self.gateway.execute(
                'UPDATE "PointRule" SET points = %s, enabled = true WHERE action = %s', [points, action]
            )
        for member in MEMBER_IDS[:2]:
            self.add_member_with(member)

    def teardown(self) -> None:
        for transaction_ in self.open:
            transaction_.session.close()

    # Existing members and rows, and open transactions.

    def member(self, number: int) -> str:
        """Choose one of the members, or sometimes one who does not exist."""
        there = sorted(self.model.members)
        return there[number % len(there)] if there and number < 40 else "nobody"

    def entry(self, number: int) -> Entry | None:
        there = list(self.model.entries.values())
        return there[number % len(there)] if there else None

    def entries(self, given: list[Given]) -> list[Entry]:
        return [self._entry(one) for one in given]

    def moment(self, given: Given) -> datetime | None:
        if given.day_and_time is None:
            return None
        offset, time_ = given.day_and_time
        return datetime.combine(self.anchor + timedelta(days=offset), time_)

    def _entry(self, given: Given) -> Entry:
        member, points, key = self.member(given.member), given.points, None
        reverses = self.entry(given.reverses) if given.reverses is not None else None
        if reverses and given.reverses != 0:  # mostly the right points, otherwise the drawn ones
            member, points = reverses.member, max(-reverses.points, -(2**31))
            points = min(points, 2**31 - 1)
        if given.key is not None:
            key = f"intro_completed:{member}" if given.key < 10 else f"own:{given.key % 5}"
        moment = rounded(self.moment(given) or datetime.now(UTC).replace(tzinfo=None))
        return Entry(
            f"e{next(self.numbers)}",
            member,
            given.action,
            points,
            moment,
            key,
            reverses.id if reverses else None,
        )

    def is_in_the_way(
        self, members: set[str], once: set[str] | None = None, *, of: Open | None = None
    ) -> bool:
        """Tell whether an open transaction has locked one of the members, or may still add or remove a unique value."""
        others = [other for other in self.open if other is not of]
        held = set().union(*(other.once for other in others)) | set().union(
            *(
                entry.once
                for other in others
                for member in other.deleted & self.model.members.keys()
                for entry in self.model.members[member].values()
            )
        )
        return bool(members & set().union(*(other.members for other in others)) or (once or set()) & held)

    def insert(
        self, session: psycopg.Connection, entries: list[Entry], given: list[Given], suffix: str = ""
    ) -> list[str]:
        """Write entries in one statement. Those without a time get the column's default. Returns the new ids."""
        rows = [
            (
                e.id,
                e.member,
                e.action,
                e.points,
                e.key,
                e.reverses,
                *((self.moment(g),) if g.day_and_time else ()),
            )
            for e, g in zip(entries, given, strict=True)
        ]
        # VALUES with DEFAULT, like the gateway's client.
        values = ", ".join(
            "(%s, %s, %s, %s, %s, %s, " + ("%s" if g.day_and_time else "DEFAULT") + ")" for g in given
        )
        query = (
            f'INSERT INTO "PointTransaction" ({COLUMNS}, "createdAt") VALUES {values} {suffix} RETURNING id'
        )
        return [row[0] for row in session.execute(query.encode(), [value for row in rows for value in row])]

    def as_stored(self, entries: list[Entry], given: list[Given], session: psycopg.Connection) -> list[Entry]:
        """Copy the times that the database set, which must be the present time in UTC."""
        stored = []
        for entry, one in zip(entries, given, strict=True):
            if one.day_and_time is None:
                row = session.execute(
                    'SELECT "createdAt" FROM "PointTransaction" WHERE id = %s', [entry.id]
                ).fetchone()
                assert row
                assert abs(row[0] - entry.created_at) < timedelta(minutes=10)
                entry = replace(entry, created_at=row[0])  # noqa: PLW2901
            stored.append(entry)
        return stored

    def with_keys(self, entries: list[Entry], session: psycopg.Connection) -> list[Entry]:
        """Copy the keys that the database gave to rows without one. Only the first row for the same thing gets the key.

        While other transactions are open, a row may get no key.
        """
        ids = [entry.id for entry in entries]
        query = 'SELECT id, "idempotencyKey" FROM "PointTransaction" WHERE id = ANY (%s)'
        keys: dict[str, str | None] = dict(session.execute(query.encode(), [ids]).fetchall())
        stored = [replace(entry, key=keys[entry.id]) for entry in entries]
        taken = self.model.once.union(*(entry.once for entry in stored))
        for entry, now in zip(entries, stored, strict=True):
            if now.key != entry.key:
                assert (entry.key, now.key) == (None, entry.own_key)
            elif entry.key is None and entry.own_key and not self.open:
                assert entry.own_key in taken
        return stored

    @contextmanager
    def refused(self, *kinds: type[Exception], when: bool) -> Iterator[list[bool]]:
        """Check that a block fails if it must, and only then."""
        done: list[bool] = []
        try:
            yield done
        except kinds:
            assert when, "refused without a reason"
        else:
            assert not when or not done, "should have been refused"

    # Members.

    def add_member_with(self, id: str) -> None:
        self.gateway.execute(
            """INSERT INTO "Member" (id, "subscriptionStatus", "updatedAt") VALUES (%s, 'ACTIVE', now())""",
            [id],
        )
        self.model.members[id] = {}

    @precondition(lambda self: len(self.model.members) < len(MEMBER_IDS))
    @rule()
    def add_a_member(self) -> None:
        pending = set().union(*(other.deleted for other in self.open))
        free = [id for id in MEMBER_IDS if id not in self.model.members and id not in pending]
        self.add_member_with(free[0])

    @precondition(lambda self: self.model.members)
    @rule(number=NUMBERS)
    def delete_a_member(self, number: int) -> None:
        member = self.member(number)
        with self.refused(psycopg.errors.LockNotAvailable, when=self.is_in_the_way({member})) as done:
            self.gateway.execute('DELETE FROM "Member" WHERE id = %s', [member])
            done.append(True)
            self.model.members.pop(member, None)

    @precondition(lambda self: 0 < len(self.model.members) < len(MEMBER_IDS))
    @rule(number=st.integers(0, 39))
    def give_a_member_another_id(self, number: int) -> None:
        member = self.member(number)
        new = next(id for id in reversed(MEMBER_IDS) if id not in self.model.members)
        with self.refused(psycopg.errors.LockNotAvailable, when=self.is_in_the_way({member})) as done:
            self.gateway.execute('UPDATE "Member" SET id = %s WHERE id = %s', [new, member])
            done.append(True)
            self.model.rename(member, new)

    # What Django does.

    @contextmanager
    def may_wait_in_vain(self, *, when: bool) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            if not isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
                raise
            assert when, "waited for nobody"

    def paid(self, award: ledger.Award) -> Entry | None:
        """The row that an award must write. None if a row has its key, or if no rule is in force."""
        points, enabled = self.model.rules[award.action]
        if not enabled or points == 0:
            return None
        now = datetime.now(UTC).replace(tzinfo=None)
        return Entry("", award.member_id, str(award.action), points * award.times, now, award.key)

    def award(self, awards: list[ledger.Award], act: Callable[[], list[Any]], *, kept: bool = True) -> None:
        asked = [entry for award in awards if (entry := self.paid(award))]
        due = self.model.without_conflicts(sorted(asked, key=lambda entry: entry.key or ""))
        in_the_way = self.is_in_the_way({e.member for e in due}, {str(award.key) for award in awards})
        is_refused = self.model.refuses(due) or any(entry.points >= 2**31 for entry in asked)
        try:
            with self.may_wait_in_vain(when=in_the_way):
                rows = act()
                assert not is_refused
                assert [(row.member_id, row.action, row.points, row.idempotency_key) for row in rows] == [
                    (entry.member, entry.action, entry.points, entry.key) for entry in due
                ]
                if kept:
                    self.model.add(
                        Entry(
                            row.pk,
                            row.member_id,
                            row.action,
                            row.points,
                            row.created_at.replace(tzinfo=None),
                            row.idempotency_key,
                        )
                        for row in rows
                    )
        except ledger.Refused:
            assert is_refused

    def award_of(self, given: tuple[int, Action, str, int]) -> ledger.Award:
        number, action, subject, times = given
        return ledger.Award(
            self.member(number), action, subject, times if action == Action.DISCORD_ACTIVITY else 1
        )

    @rule(given=AWARDS)
    def award_one(self, given: tuple[int, Action, str, int]) -> None:
        award = self.award_of(given)
        self.award([award], lambda: [row for row in [ledger.award(award)] if row])

    @rule(given=st.lists(AWARDS, max_size=6))
    def award_some(self, given: list[tuple[int, Action, str, int]]) -> None:
        awards = [self.award_of(one) for one in given]
        self.award(awards, lambda: ledger.award_many(awards))

    @rule(given=AWARDS)
    def award_in_a_transaction_that_is_rolled_back(self, given: tuple[int, Action, str, int]) -> None:
        award = self.award_of(given)

        def act() -> list[Any]:
            with transaction.atomic():
                rows = ledger.award_many([award])
                transaction.set_rollback(True)
            return rows

        self.award([award], act, kept=False)

    @rule(numbers=st.lists(NUMBERS, min_size=1, max_size=3), points=POINTS, form=st.sampled_from(FORMS))
    def adjust(self, numbers: list[int], points: int, form: uuid.UUID) -> None:
        ids = {self.member(number) for number in numbers}
        keys = {f"admin_adjustment:{id}:{form}" for id in ids}
        now = datetime.now(UTC).replace(tzinfo=None)
        entries = [Entry(id, id, "admin_adjustment", points, now) for id in ids]
        is_refused = (
            points == 0
            or bool(keys & self.model.once)
            or self.model.refuses(entries)
            or any(self.model.figures(id, entries).total < 0 for id in ids)
        )
        try:
            with self.may_wait_in_vain(when=self.is_in_the_way(ids)):
                rows = ledger.adjust(
                    members=[Member(pk=id) for id in ids],
                    points=points,
                    reason=REASON,
                    performed_by=self.bench.staff,
                    form_key=form,
                )
                assert not is_refused
                self.model.add(self._written(rows))
        except ledger.Refused:
            assert is_refused

    @precondition(lambda self: self.model.entries)
    @rule(number=NUMBERS)
    def reverse(self, number: int) -> None:
        entry = self.entry(number)
        assert entry
        now = datetime.now(UTC).replace(tzinfo=None)
        reversal = Entry("", entry.member, entry.action, -entry.points, now, f"reversal:{entry.id}", entry.id)
        is_refused = self.model.refuses([reversal]) or reversal.points >= 2**31
        try:
            with self.may_wait_in_vain(when=self.is_in_the_way({entry.member})):
                row = ledger.reverse(entry_id=entry.id, reason=REASON, performed_by=self.bench.staff)
                assert not is_refused
                self.model.add(self._written([row]))
        except ledger.AlreadyReversed:
            assert reversal.once & self.model.once
        except ledger.Refused:
            assert is_refused

    def _written(self, rows: list[Any]) -> list[Entry]:
        found = self.bench.observer.execute(
            f"{ENTRIES} WHERE id = ANY(%s)".encode(), [[row.pk for row in rows]]
        )
        entries = [Entry(*row) for row in found]
        assert len(entries) == len(rows)
        return entries

    @rule(
        action=st.sampled_from(AWARDED), points=st.sampled_from([0, 1, 7, 2**31 - 1]), enabled=st.booleans()
    )
    def change_a_rule(self, action: str, points: int, enabled: bool) -> None:
        self.gateway.execute(
            'UPDATE "PointRule" SET points = %s, enabled = %s WHERE action = %s',
            [points, enabled, str(action)],
        )
        self.model.rules[str(action)] = (points, enabled)

    # Actions of the gateway and of operators, each a single statement.

    @precondition(lambda self: self.model.members)
    @rule(given=ACTIVITY, zone=st.sampled_from(ZONES))
    def attend(self, given: Given, zone: str) -> None:
        self._insert([given], zone)

    @precondition(lambda self: self.model.members)
    @rule(given=st.lists(ACTIVITY, min_size=2, max_size=5))
    def attend_often(self, given: list[Given]) -> None:
        self._insert(given, "UTC")

    @precondition(lambda self: self.model.entries)
    @rule(number=st.integers(1, 39), at=MOMENTS)
    def reverse_by_plain_insert(self, number: int, at: tuple[int, clock] | None) -> None:
        self._insert([Given(0, "event_attended", 0, at, reverses=number)], "UTC")

    @rule(given=ROWS, zone=st.sampled_from(ZONES), skip=st.booleans())
    def insert_rows(self, given: list[Given], zone: str, skip: bool) -> None:
        self._insert(given, zone, skip=skip)

    def _insert(self, given: list[Given], zone: str, *, skip: bool = False) -> None:
        entries = self.entries(given)
        kept = self.model.without_conflicts(entries) if skip else entries
        once = set().union(*(entry.once for entry in entries))
        in_the_way = self.is_in_the_way({entry.member for entry in kept}, once)
        session = self.bench.sessions[zone]
        with self.refused(*REFUSALS, when=in_the_way or self.model.refuses(kept)) as done:
            ids = self.insert(session, entries, given, "ON CONFLICT DO NOTHING" if skip else "")
            done.append(True)
            assert ids == [entry.id for entry in kept]
            givens = [one for entry, one in zip(entries, given, strict=True) if entry in kept]
            self.model.add(self.with_keys(self.as_stored(kept, givens, session), session))

    @rule(given=ROWS, zone=st.sampled_from(ZONES))
    def copy_rows(self, given: list[Given], zone: str) -> None:
        entries = self.entries(given)
        once = set().union(*(entry.once for entry in entries))
        in_the_way = self.is_in_the_way({entry.member for entry in entries}, once)
        session = self.bench.sessions[zone]
        with self.refused(*REFUSALS, when=in_the_way or self.model.refuses(entries)) as done:
            copying = f'COPY "PointTransaction" ({COLUMNS}, "createdAt") FROM STDIN'.encode()
            with session.cursor() as cursor, cursor.copy(copying) as copy:
                for e in entries:
                    copy.write_row((e.id, e.member, e.action, e.points, e.key, e.reverses, e.created_at))
            done.append(True)
            self.model.add(self.with_keys(entries, session))

    @rule(first=SMALL_ROWS, second=SMALL_ROWS)
    def insert_twice_in_one_statement(self, first: list[Given], second: list[Given]) -> None:
        halves = [self.entries(first), self.entries(second)]
        entries = halves[0] + halves[1]
        in_the_way = self.is_in_the_way({entry.member for entry in entries})
        values = [[(e.id, e.member, e.action, e.points, e.created_at) for e in half] for half in halves]
        insert = 'INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt") VALUES '
        texts = [insert + ", ".join(["(%s, %s, %s, %s, %s)"] * len(half)) for half in values]
        near_the_end = any(
            member in self.model.members and abs(self.model.figures(member).total) > 2**30
            for member in {entry.member for entry in entries}
        )
        if near_the_end:  # the result depends on which half comes first
            return
        with self.refused(*REFUSALS, when=in_the_way or self.model.refuses(entries)) as done:
            self.gateway.execute(
                f"WITH first AS ({texts[0]}) {texts[1]}".encode(),
                [v for half in values for row in half for v in row],
            )
            done.append(True)
            self.model.add(self.with_keys(entries, self.gateway))

    @precondition(lambda self: self.model.entries)
    @rule(
        change=st.sampled_from(
            [
                'UPDATE "PointTransaction" SET points = 7',
                """UPDATE "PointTransaction" SET "createdAt" = "createdAt" - interval '1 day'""",
                'DELETE FROM "PointTransaction"',
                'TRUNCATE "PointTransaction"',
            ]
        )
    )
    def change_the_ledger(self, change: str) -> None:
        with pytest.raises((psycopg.errors.RestrictViolation, psycopg.errors.LockNotAvailable)):
            self.gateway.execute(change.encode())

    # Transactions that stay open during other actions.

    @precondition(lambda self: len(self.open) < 2)
    @rule(isolation=st.sampled_from(["READ COMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"]))
    def open_a_transaction(self, isolation: str) -> None:
        session = quick(self.bench.database.connect())
        session.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
        session.execute('SELECT count(*) FROM "Member"')  # above READ COMMITTED, this fixes its snapshot
        self.open.append(Open(session, isolation == "READ COMMITTED"))

    def _write(self, mine: Open, given: list[Given]) -> list[Entry] | None:
        """Write in a transaction. Returns None if that was refused, as expected."""
        given = [replace(one, day_and_time=one.day_and_time or (0, clock(9))) for one in given]
        entries = self.entries(given)
        members = {entry.member for entry in entries}
        try:
            self.insert(mine.session, entries, given)
        except psycopg.errors.SerializationFailure:
            assert not mine.reads_committed
            return None
        except REFUSALS:
            view = self._view_of(mine)
            assert self.is_in_the_way(members) or view.refuses(entries) or not mine.reads_committed
            return None
        return self.with_keys(entries, mine.session)

    def _view_of(self, mine: Open) -> Model:
        members = {id: dict(entries) for id, entries in self.model.members.items() if id not in mine.deleted}
        view = Model(members, self.model.rules)
        view.add(mine.added)
        return view

    def _end(self, mine: Open) -> None:
        self.open.remove(mine)
        mine.session.close()

    @precondition(lambda self: self.open)
    @rule(number=NUMBERS, given=SMALL_ROWS)
    def write_in_a_transaction(self, number: int, given: list[Given]) -> None:
        mine = self.open[number % len(self.open)]
        if (entries := self._write(mine, given)) is None:
            self._end(mine)
        else:
            mine.added += entries

    @precondition(lambda self: self.open)
    @rule(number=NUMBERS, given=SMALL_ROWS, kept=st.booleans())
    def write_after_a_savepoint(self, number: int, given: list[Given], kept: bool) -> None:
        mine = self.open[number % len(self.open)]
        mine.session.execute("SAVEPOINT here")
        entries = self._write(mine, given)
        if entries and kept:
            mine.session.execute("RELEASE here")
            mine.added += entries
        else:
            mine.session.execute("ROLLBACK TO here")

    @precondition(lambda self: self.open and self.model.members)
    @rule(number=NUMBERS, victim=NUMBERS)
    def delete_a_member_in_a_transaction(self, number: int, victim: int) -> None:
        mine, member = self.open[number % len(self.open)], self.member(victim)
        try:
            mine.session.execute('DELETE FROM "Member" WHERE id = %s', [member])
        except (psycopg.errors.SerializationFailure, psycopg.errors.LockNotAvailable):
            assert self.is_in_the_way({member}, of=mine) or not mine.reads_committed
            self._end(mine)
        else:
            mine.deleted.add(member)
            mine.added = [entry for entry in mine.added if entry.member != member]

    @precondition(lambda self: self.open)
    @rule(number=NUMBERS)
    def commit(self, number: int) -> None:
        mine = self.open[number % len(self.open)]
        try:
            mine.session.execute("COMMIT")
        except psycopg.errors.SerializationFailure:
            assert not mine.reads_committed
        else:
            for member in mine.deleted:
                self.model.members.pop(member, None)
            self.model.add(mine.added)
        self._end(mine)

    @precondition(lambda self: self.open)
    @rule(number=NUMBERS)
    def roll_back(self, number: int) -> None:
        mine = self.open[number % len(self.open)]
        mine.session.execute("ROLLBACK")
        self._end(mine)

    @precondition(lambda self: self.open)
    @rule(number=NUMBERS)
    def terminate(self, number: int) -> None:
        mine = self.open[number % len(self.open)]
        pid = mine.session.info.backend_pid
        self.gateway.execute("SELECT pg_terminate_backend(%s)", [pid])
        deadline = time.monotonic() + 60
        while (
            self.gateway.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() is not None
        ):
            assert time.monotonic() < deadline
        with pytest.raises(psycopg.OperationalError):
            mine.session.execute("COMMIT")
        self._end(mine)

    # After each action:

    @invariant()
    def figures_are_the_model_s(self) -> None:
        found, by_ledger = {}, {}
        for id, *both in self.bench.observer.execute(FIGURES.encode()):
            found[id] = Figures(*both[:5])
            by_ledger[id] = Figures(*both[5:]) if both[5] is not None else Figures()
        expected = {member: self.model.figures(member) for member in self.model.members}
        assert found == expected
        assert by_ledger == expected

    @invariant()
    def the_ledger_is_the_model_s(self) -> None:
        found = {row[0]: Entry(*row) for row in self.bench.observer.execute(ENTRIES.encode())}
        assert found == self.model.entries


def test_members_figures_follow_the_rules_after_any_actions(bench: Bench) -> None:
    run_state_machine_as_test(
        lambda: Truth(bench),  # type: ignore[arg-type]  # anything that makes one will do
        settings=settings(
            max_examples=EXAMPLES or 50,
            stateful_step_count=40 if EXAMPLES else 25,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        ),
    )


# Sequences in which faults were found, made short.

ADD = 'INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt") VALUES '
FOUND = {
    "a streak over the end of a month, in one statement": [
        f"{ADD} ('a', 'ma', 'x', 1, '2026-01-29'), ('b', 'ma', 'x', 1, '2026-01-30'), ('c', 'ma', 'x', 1, '2026-02-02')"
    ],
    "a day that fills a gap, and one that goes on, by two inserts of one query": [
        f"{ADD} ('a', 'ma', 'x', 1, '2026-01-05'), ('b', 'ma', 'x', 1, '2026-01-07')",
        f"WITH first AS ({ADD} ('c', 'ma', 'x', 1, '2026-01-06')) {ADD} ('d', 'ma', 'x', 1, '2026-01-08')",
    ],
    "a function that adds days in the middle of a statement that adds the next": [
        f"""CREATE FUNCTION add_two() RETURNS text LANGUAGE plpgsql AS $$
            BEGIN
              {ADD} ('a', 'ma', 'x', 1, '2026-01-05'), ('b', 'ma', 'x', 1, '2026-01-06');
              RETURN 'd';
            END $$""",
        f"{ADD} ('c', 'ma', 'x', 1, '2026-01-07'), (add_two(), 'ma', 'x', 1, '2026-01-07')",
    ],
    "a total that leaves the range in one month and is back in the next": [
        f"{ADD} ('a', 'ma', 'x', 2147483647, '2026-01-05')",
        f"{ADD} ('b', 'ma', 'x', 5, '2026-01-06'), ('c', 'ma', 'x', -5, '2026-02-06')",
    ],
}


@pytest.mark.parametrize("case", FOUND)
def test_figures_are_right_after(case: str, migrated: Database) -> None:
    migrated.execute("""INSERT INTO "Member" (id, "updatedAt") VALUES ('ma', now())""")
    with migrated.connect() as session:
        for statement in FOUND[case]:
            session.execute(statement.encode())
        entries = [Entry(*row) for row in session.execute(ENTRIES.encode())]
        [(_, *both)] = session.execute(FIGURES.encode())

    assert Figures(*both[:5]) == Figures(*both[5:]) == figures(entries)
