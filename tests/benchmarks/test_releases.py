"""Releases in the database: whose answers count, what is published, and what is carried over."""

import hashlib
import hmac
import random
from datetime import date, timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import transaction

from benchmarks import basis, cells, definitions, disclosure, moved_answers, releases
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, NumberField
from benchmarks.figures import Basis, Figure, Release
from tests.benchmarks import history
from tests.benchmarks.history import answer, execute, member, month

pytestmark = pytest.mark.django_db
KEY = "the tests' key"
FIELD = "daily_sends_per_inbox"
ORDER = ["category", "field", "dimension", "bands"]
EXACT = disclosure.Rules(max_move=0, other_choice=0)


@pytest.fixture(autouse=True)
def key(settings: Any) -> None:
    settings.BENCHMARK_KEY = KEY


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count answers without moving them, so that a test can tell which ones were counted."""
    monkeypatch.setattr(disclosure, "RULES", EXACT)


def population(
    companies: int = 12, *, first: int = 20, field: str = FIELD, when: str = "2026-05-01"
) -> list[str]:
    """Add companies whose answers are 20, 21, 22 ..."""
    members = [member() for _ in range(companies)]
    for number, member_ in enumerate(members):
        answer(member_, "OPERATIONAL", {field: first + number}, when)
    return members


def figure(
    release: Release | None, field: str = FIELD, dimension: str = "", bands: list[str] | None = None
) -> Figure:
    return Figure.objects.get(release=release, field=field, dimension=dimension, bands=bands or [])


def counted(release: Release | None, category: str = "OPERATIONAL", *, is_aged: bool = False) -> set[str]:
    """List the members whose versions a release was made from."""
    versions = Basis.objects.get(release=release, category=category, is_aged=is_aged).versions
    rows = execute('SELECT "memberId" FROM "BenchmarkVersion" WHERE id = ANY (%s)', [versions])
    return {row[0] for row in rows}


# Which months


def test_the_first_release_is_of_the_last_month_and_later_ones_catch_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(releases, "now", lambda: history.at("2026-09-15T12:00+00:00"))
    assert releases.due() == [month("2026-08")]
    releases.take(month=month("2026-06"))
    assert releases.due() == [month("2026-07"), month("2026-08")]


def test_the_command_takes_what_is_due_once(capsys: pytest.CaptureFixture[str]) -> None:
    releases.take(month=month("2026-06"))
    population()
    call_command("take_release")
    out = capsys.readouterr().out
    assert "July 2026: " in out and "October 2026: " in out
    call_command("take_release")
    assert capsys.readouterr().out == "Every month that is over has its release.\n"
    call_command("take_release", month=month("2026-07"))
    assert capsys.readouterr().out == "The release of July 2026 is out already.\n"


def test_a_month_that_is_not_over_is_refused() -> None:
    this_month = releases.now().date().replace(day=1)
    with pytest.raises(CommandError, match="is not over. Its release can be taken from 1 "):
        call_command("take_release", month=this_month)
    assert not Release.objects.exists()


def test_a_machine_whose_clock_is_a_month_ahead_takes_nothing_early(monkeypatch: pytest.MonkeyPatch) -> None:
    this_month = releases.now().date().replace(day=1)
    real = releases.now
    monkeypatch.setattr(releases, "now", lambda: real() + timedelta(days=31))
    with pytest.raises(Exception, match="is not over"):
        releases.take(month=this_month)


def test_a_clock_a_day_ahead_takes_nothing_early_and_one_a_day_behind_the_same_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    this_month = releases.now().date().replace(day=1)
    last_month = (this_month - timedelta(days=1)).replace(day=1)
    population()
    with monkeypatch.context() as ahead, transaction.atomic():
        ahead.setattr(releases, "now", lambda: releases.cut_off_of(this_month) + timedelta(hours=1))
        releases.take(month=last_month)
        assert releases.due() == [this_month]
        with pytest.raises(Exception, match="is not over"), transaction.atomic():
            releases.take(month=this_month)
        expected = [
            (row.field, row.dimension, row.p50, row.withheld_by) for row in Figure.objects.order_by(*ORDER)
        ]
        transaction.set_rollback(True)
    with monkeypatch.context() as behind:
        behind.setattr(releases, "now", lambda: releases.cut_off_of(last_month) - timedelta(hours=23))
        assert last_month not in releases.due()
        with pytest.raises(releases.MonthNotOver):
            releases.take(month=last_month)
    releases.take(month=last_month)
    assert [
        (row.field, row.dimension, row.p50, row.withheld_by) for row in Figure.objects.order_by(*ORDER)
    ] == expected


def test_a_missing_month_before_a_release_is_never_filled() -> None:
    releases.take(month=month("2026-06"))
    with pytest.raises(CommandError, match="May 2026 has no release, and June 2026 has one already"):
        call_command("take_release", month=month("2026-05"))


def test_a_month_must_be_written_like_2026_10() -> None:
    with pytest.raises(CommandError, match="'June' is not a month. Write it as 2026-10."):
        call_command("take_release", "--month", "June")


def test_without_a_key_there_is_no_release(settings: Any) -> None:
    settings.BENCHMARK_KEY = ""
    with pytest.raises(ImproperlyConfigured, match="BENCHMARK_KEY is not set"):
        releases.take(month=month("2026-06"))
    assert not Release.objects.exists()


# Which answers count


def test_a_member_who_joined_yesterday_does_not_count() -> None:
    old = population()
    new = member(joined=history.at("2026-06-30T00:00+00:00"))
    answer(new, "OPERATIONAL", {FIELD: 99}, "2026-06-30 01:00")
    almost = member(joined=history.at("2026-06-01T00:00:01+00:00"))
    answer(almost, "OPERATIONAL", {FIELD: 99}, "2026-06-02")
    just = member(joined=history.at("2026-06-01T00:00+00:00"))
    answer(just, "OPERATIONAL", {FIELD: 99}, "2026-06-02")
    assert counted(releases.take(month=month("2026-06"))) == {*old, just}


@pytest.mark.parametrize("status", ["NONE", "TRIALING", "PAST_DUE", "CANCELLED"])
def test_a_company_counts_while_one_of_its_members_is_active(status: str) -> None:
    lapsed = member(team="t1", status=status)
    answer(lapsed, "OPERATIONAL", {FIELD: 5})
    assert counted(releases.take(month=month("2026-06"))) == set()
    member(team="t1")
    assert counted(releases.take(month=month("2026-07"))) == {lapsed}


def test_answers_count_as_they_were_at_the_cut_off() -> None:
    early, late, edge = member(), member(), member()
    answer(early, "OPERATIONAL", {FIELD: 5}, "2026-06-30 23:59:59.999")
    answer(edge, "OPERATIONAL", {FIELD: 5}, "2026-07-01 00:00")
    answer(late, "OPERATIONAL", {FIELD: 5}, "2026-07-02")
    assert counted(releases.take(month=month("2026-06"))) == {early}
    assert counted(releases.take(month=month("2026-07"))) == {early, edge, late}


def test_a_withdrawn_answer_does_not_count_and_one_sent_again_does() -> None:
    gone, back = member(), member()
    for member_ in (gone, back):
        answer(member_, "OPERATIONAL", {FIELD: 5})
        answer(member_, "OPERATIONAL", {}, "2026-06-10", is_withdrawn=True)
    answer(back, "OPERATIONAL", {FIELD: 6}, "2026-06-11")
    assert counted(releases.take(month=month("2026-06"))) == {back}


def test_a_flagged_or_rejected_version_is_left_out_and_the_former_one_stays(exact: None) -> None:
    members = population(11, first=20)
    former = member()
    answer(former, "OPERATIONAL", {FIELD: 25})
    answer(former, "OPERATIONAL", {FIELD: 9000}, "2026-06-01", state="FLAGGED")
    lifted = member()
    version = answer(lifted, "OPERATIONAL", {FIELD: 25}, "2026-06-01", state="FLAGGED")
    waiting = member()
    answer(waiting, "OPERATIONAL", {FIELD: 25}, "2026-06-01", state=None)
    release = releases.take(month=month("2026-06"))
    assert counted(release) == {*members, former}
    answers = [
        row[0] for row in execute('SELECT data FROM "BenchmarkVersion" WHERE "memberId" = %s', [former])
    ]
    assert len(answers) == 2
    history.review(version, "RECEIVED", "2026-07-05")
    assert counted(releases.take(month=month("2026-07"))) == {*members, former, lifted}


def test_a_rejection_after_the_cut_off_does_not_change_the_release() -> None:
    member_ = member()
    version = answer(member_, "OPERATIONAL", {FIELD: 5})
    history.review(version, "REJECTED", "2026-07-10")
    assert counted(releases.take(month=month("2026-06"))) == {member_}
    assert counted(releases.take(month=month("2026-07"))) == set()


def test_a_team_that_dissolves_counts_once_until_its_people_answer_for_themselves() -> None:
    owner, colleague = member(team="t1", is_owner=True), member(team="t1")
    answer(owner, "OPERATIONAL", {FIELD: 5})
    execute('UPDATE "Member" SET "teamId" = NULL WHERE "teamId" = %s', ["t1"])
    execute("""DELETE FROM "Team" WHERE id = 't1'""")
    first = releases.take(month=month("2026-06"))
    assert counted(first) == {owner}
    answer(colleague, "OPERATIONAL", {FIELD: 6}, "2026-07-02")
    answer(owner, "OPERATIONAL", {FIELD: 5}, "2026-07-03")
    second = releases.take(month=month("2026-07"))
    assert counted(second) == {owner, colleague}
    keys = execute(
        'SELECT "companyKey" FROM "BenchmarkVersion" WHERE id = ANY (%s)',
        [Basis.objects.get(release=second, category="OPERATIONAL").versions],
    )
    assert {row[0] for row in keys} == {f"member:{owner}", f"member:{colleague}"}


def table(
    release: Release | None, category: Category, rules: disclosure.Rules = EXACT
) -> list[dict[str, Any]]:
    """Read the rows that a release was made from, one per company."""
    assert release is not None
    moved_answers.set_key(KEY)
    companies = execute('SELECT DISTINCT "companyKey" FROM "BenchmarkVersion"')
    source = basis.Source(release=release.pk, companies=tuple(company for (company,) in companies))
    cells.make_groups(name="test groups", source=source, rules=rules)
    cells.make_table(name="test rows", groups="test groups", source=source, category=category, rules=rules)
    columns = [
        row[0]
        for row in execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = '\"test rows\"'::regclass AND attnum > 0 ORDER BY attnum"
        )
    ]
    rows = [
        dict(zip(columns, row, strict=True)) for row in execute('SELECT * FROM "test rows" ORDER BY company')
    ]
    execute('DROP TABLE "test rows"; DROP TABLE "test groups"')
    return rows


def test_a_company_s_value_is_the_owner_s_answer_or_else_the_newest() -> None:
    owner, newer, newest = member(team="t1", is_owner=True), member(team="t1"), member(team="t1")
    answer(newest, "OPERATIONAL", {FIELD: 3, "inboxes_per_domain": 3, "domains_per_client": 3}, "2026-06-03")
    answer(newer, "OPERATIONAL", {FIELD: 2, "inboxes_per_domain": 2, "warmup_period_days": 2}, "2026-06-02")
    answer(owner, "OPERATIONAL", {FIELD: 1}, "2026-06-01")
    (row,) = table(releases.take(month=month("2026-06")), Category.OPERATIONAL)
    assert row["company"] == "team:t1"
    assert (row[FIELD], row["inboxes_per_domain"], row["domains_per_client"], row["warmup_period_days"]) == (
        1,
        3,
        3,
        2,
    )


def test_pay_and_fees_are_taken_from_answers_that_are_90_days_old() -> None:
    member_ = member()
    answer(member_, "BUSINESS", {"average_monthly_retainer": 1000, "gross_margin_percent": 10}, "2026-01-05")
    answer(member_, "BUSINESS", {"average_monthly_retainer": 2000, "gross_margin_percent": 20}, "2026-04-02")
    (row,) = table(releases.take(month=month("2026-06")), Category.BUSINESS)
    assert (row["average_monthly_retainer"], row["gross_margin_percent"]) == (1000, 20)
    (row,) = table(releases.take(month=month("2026-07")), Category.BUSINESS)
    assert row["average_monthly_retainer"] == 2000


JUNK = [
    {},
    {FIELD: "40"},
    {FIELD: "forty"},
    {FIELD: [1, 2]},
    {FIELD: {"a": 1}},
    {FIELD: True},
    {FIELD: None},
    {FIELD: -5},
    {FIELD: 10**12},
    {"unknown": 5, FIELD: 41},
    [1, 2],
    "text",
    17,
    None,
]


def test_the_gateway_s_answers_count_if_they_make_sense() -> None:
    for data in JUNK:
        answer(member(), "OPERATIONAL", data)
    rows = table(releases.take(month=month("2026-06")), Category.OPERATIONAL)
    assert sorted(row[FIELD] for row in rows if row[FIELD] is not None) == [40, 41]


def test_choices_are_read_as_the_definitions_read_them() -> None:
    texts = [
        "porkbun",
        " PorkBun ",
        "Route 53",
        "route_53",
        "GoDaddy",
        "my  uncle",
        "other",
        "Other",
        "",
        "  ",
        7,
    ]
    choice = definitions.field(Category.INFRASTRUCTURE, "domain_vendor")
    assert isinstance(choice, ChoiceField)
    for text in texts:
        answer(member(), "INFRASTRUCTURE", {"domain_vendor": text})
    rows = table(releases.take(month=month("2026-06")), Category.INFRASTRUCTURE)
    places = [value for value, _ in choice.all_choices]
    found = sorted(places[int(row["domain_vendor"]) - 1] for row in rows if row["domain_vendor"])
    expected = (choice.read({"domain_vendor": text}) for text in texts)
    assert found == sorted(value for value in expected if value)


# What is published


def member_draw(member_: str, field: str) -> float:
    """Draw for a member and a field with Python's HMAC and PostgreSQL's hash."""
    secret = hmac.digest(KEY.encode(), b"answers", hashlib.sha256)
    number = int.from_bytes(hmac.digest(secret, member_.encode(), hashlib.sha256)[:8], "big", signed=True)
    seed = int.from_bytes(hashlib.sha256(field.encode()).digest()[:8], "big", signed=True)
    ((hashed,),) = execute("SELECT hashint8extended(%s, %s) & 16777215", [number, seed])
    return float(hashed / 16777216)


def test_the_database_moves_answers_like_the_rules_in_python() -> None:
    choice = definitions.field(Category.INFRASTRUCTURE, "warmup_tool")
    assert isinstance(choice, ChoiceField)
    places = [value for value, _ in choice.all_choices]
    given = {}
    for number in range(60):
        given[member()] = {"cost_per_domain": number / 4, "warmup_tool": places[number % len(places)]}
    for member_, data in given.items():
        answer(member_, "INFRASTRUCTURE", data)
    rows = table(releases.take(month=month("2026-06")), Category.INFRASTRUCTURE, disclosure.RULES)
    others = 0
    for row in rows:
        member_ = row["company"].removeprefix("member:")
        value, chosen = given[member_]["cost_per_domain"], str(given[member_]["warmup_tool"])
        assert isinstance(value, float)
        drawn = member_draw(member_, "cost_per_domain")
        assert row["cost_per_domain"] == pytest.approx(
            disclosure.moved(value, drawn, step=0.1, minimum=0), abs=1e-9
        )
        counted_as = disclosure.counted_as(chosen, member_draw(member_, "warmup_tool"), choices=places)
        assert places[int(row["warmup_tool"]) - 1] == counted_as
        others += counted_as != chosen
    assert 3 < others < 25


def expected_numbers(
    answers: dict[str, float],
    asked: NumberField,
    release: Release,
    category: str,
    cell: tuple[str, ...],
) -> dict[str, float]:
    """Compute a cell in Python with the rules."""
    moved = sorted(
        disclosure.moved(
            value, member_draw(who, asked.name), step=moved_answers.step(asked), minimum=asked.minimum
        )
        for who, value in answers.items()
    )
    found = {}
    for name in disclosure.quantiles(len(moved)):
        drawn = disclosure.draw(KEY, str(release.month), category, asked.name, *cell, name)
        ranks = disclosure.ranks(name, len(moved), drawn)
        found[name] = disclosure.quantile([moved[rank - 1] for rank in ranks], step=moved_answers.step(asked))
    return found


@pytest.mark.parametrize("companies", [10, 19, 20, 30, 101])
def test_the_database_computes_the_same_figures_as_the_rules(companies: int) -> None:
    source = random.Random(companies)
    fields = definitions.number_fields(Category.OPERATIONAL)
    given: dict[str, dict[str, float]] = {}
    for _ in range(companies):
        given[member()] = {field.name: source.choice([0, 1, 2, 5, 10, 20, 33.5, 50]) for field in fields}
    for who, data in given.items():
        answer(who, "OPERATIONAL", data)
        answer(who, "BUSINESS", {"annual_revenue_band": source.choice(["sub_100k", "100k_250k", "above_5m"])})
    release = releases.take(month=month("2026-06"))
    assert release is not None
    groups = {
        row["company"].removeprefix("member:"): row["band of"]
        for row in table(release, Category.OPERATIONAL, disclosure.RULES)
    }
    bands = [value for value, _ in cells._choice("annual_revenue_band").all_choices]
    compared = 0
    for field in fields:
        for found in Figure.objects.filter(release=release, field=field.name, withheld_by=None):
            places = {bands.index(band) + 1 for band in found.bands}
            answers = {
                who: data[field.name] for who, data in given.items() if not places or groups[who] in places
            }
            cell = (found.dimension, *found.bands)
            wanted = expected_numbers(answers, field, release, "OPERATIONAL", cell)
            assert {name: getattr(found, name) for name in disclosure.QUANTILES} == {
                name: wanted.get(name) for name in disclosure.QUANTILES
            }
            compared += 1
    assert compared >= len(fields)


def test_a_cell_that_is_not_published_names_the_rule_and_no_number() -> None:
    population(9)
    release = releases.take(month=month("2026-06"))
    assert release is not None
    assert releases.published(release, category=Category.OPERATIONAL) == []
    assert {found.withheld_by for found in releases.withheld(release)} == {"too_few"}


def test_a_choice_of_nearly_all_companies_is_withheld(exact: None) -> None:
    for number in range(20):
        answer(member(), "BUSINESS", {"pricing_model": "retainer" if number < 17 else "hybrid"})
    release = releases.take(month=month("2026-06"))
    assert figure(release, "pricing_model").withheld_by == "one_choice"


# What is carried over


def change(members: list[str], *, to: float, when: str) -> None:
    for member_ in members:
        answer(member_, "OPERATIONAL", {FIELD: to}, when)


def as_of(release: Release | None) -> date | None:
    return figure(release).as_of


def test_a_figure_stays_until_five_companies_changed(exact: None) -> None:
    members = population(20)
    first = releases.take(month=month("2026-05"))
    assert as_of(first) == date(2026, 6, 1)
    change(members[:4], to=5000, when="2026-06-10")
    second = releases.take(month=month("2026-06"))
    assert as_of(second) == date(2026, 6, 1)
    assert [getattr(figure(second), name) for name in disclosure.QUANTILES] == [
        getattr(figure(first), name) for name in disclosure.QUANTILES
    ]
    change(members[4:5], to=5000, when="2026-07-10")
    third = releases.take(month=month("2026-07"))
    assert as_of(third) == date(2026, 8, 1)
    assert figure(third).p75 != figure(first).p75


def test_joining_and_leaving_are_changes_and_changing_back_is_not(exact: None) -> None:
    members = population(20)
    releases.take(month=month("2026-05"))
    change(members[:5], to=5000, when="2026-06-10")
    for number, member_ in enumerate(members[:5]):
        answer(member_, "OPERATIONAL", {FIELD: 20 + number}, "2026-06-11")
    assert as_of(releases.take(month=month("2026-06"))) == date(2026, 6, 1)
    answer(members[5], "OPERATIONAL", {}, "2026-07-01", is_withdrawn=True)
    execute("""UPDATE "Member" SET "subscriptionStatus" = 'CANCELLED' WHERE id = ANY (%s)""", [members[6:8]])
    population(2, when="2026-07-05")
    assert as_of(releases.take(month=month("2026-07"))) == date(2026, 8, 1)


def test_a_figure_is_carried_over_at_most_four_releases() -> None:
    population(20)
    months = ["2026-03", "2026-04", "2026-05", "2026-06", "2026-07", "2026-08"]
    execute("SELECT 1")
    population(20, when="2026-02-01")
    taken = [releases.take(month=month(text)) for text in months]
    days = [as_of(release) for release in taken]
    # The second twenty answered in May, so the figure is made again for May, and carried over in three later releases.
    assert days[:2] == [date(2026, 4, 1)] * 2
    withheld = [figure(release).withheld_by for release in taken]
    assert withheld == [None] * 6
    taken += [releases.take(month=month(text)) for text in ("2026-09", "2026-10")]
    assert figure(taken[-2]).as_of == date(2026, 6, 1)
    assert figure(taken[-1]).withheld_by == "few_changed"


def test_a_cell_with_few_changes_keeps_its_figure_below_ten_companies(exact: None) -> None:
    members = population(10)
    first = releases.take(month=month("2026-05"))
    answer(members[0], "OPERATIONAL", {}, "2026-06-10", is_withdrawn=True)
    second = releases.take(month=month("2026-06"))
    assert as_of(second) == as_of(first)
    for member_ in members[1:5]:
        answer(member_, "OPERATIONAL", {}, "2026-07-10", is_withdrawn=True)
    assert figure(releases.take(month=month("2026-07"))).withheld_by == "too_few"


def test_a_lost_key_changes_no_published_figure(settings: Any) -> None:
    population(20)
    first = releases.take(month=month("2026-05"))
    before = list(Figure.objects.filter(release=first).order_by("pk").values())
    settings.BENCHMARK_KEY = "another"
    second = releases.take(month=month("2026-06"))
    assert list(Figure.objects.filter(release=first).order_by("pk").values()) == before
    assert as_of(second) == date(2026, 6, 1)
    assert figure(second).p50 == figure(first).p50


def test_a_late_release_uses_the_answers_of_its_month(exact: None) -> None:
    members = population(20)
    releases.take(month=month("2026-05"))
    change(members, to=5000, when="2026-07-10")
    june, july = (releases.take(month=month(text)) for text in ("2026-06", "2026-07"))
    assert figure(june).p50 == figure(releases.before(june)).p50  # type: ignore[arg-type]
    assert figure(july).p50 == 5100


@pytest.fixture
def groups(exact: None) -> None:
    """Twelve companies in a band, twelve in another, and nine of unknown revenue."""
    for number in range(33):
        member_ = member()
        answer(member_, "OPERATIONAL", {FIELD: 20 + number})
        if number < 24:
            answer(member_, "BUSINESS", {"annual_revenue_band": "sub_100k" if number < 12 else "above_5m"})


def test_a_group_is_withheld_if_one_to_nine_companies_remain_outside(groups: None) -> None:
    release = releases.take(month=month("2026-06"))
    found = Figure.objects.filter(release=release, field=FIELD, dimension="annual_revenue_band")
    assert sorted((one.bands[0], one.withheld_by) for one in found) == [
        ("100k_250k", None),
        ("sub_100k", "too_few_beside"),
    ]
