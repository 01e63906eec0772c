"""The page of figures in the admin, and its files."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.http import StreamingHttpResponse
from django.test import Client
from django.urls import reverse

from council import jobs, roles
from council.figures import FIGURES, computing
from council.figures.registry import Figure
from council.models import AdminRole, AuditLog, FigureTable, JobRun, Member, SubscriptionStatus
from tests.browser import Visitor
from tests.factories import AccountFactory, MemberFactory, PointTransactionFactory

pytestmark = pytest.mark.any_server

PAGE = reverse("admin:council_figuretable_changelist")


def compute() -> JobRun:
    run = jobs.run(jobs.JOBS["compute_figures"])
    assert run is not None
    return run


def export(browser: Client, figure: str, **data: str) -> Any:
    return browser.post(reverse("admin:council_figuretable_export", args=[figure]), data)


def content(response: Any) -> str:
    assert isinstance(response, StreamingHttpResponse)
    return b"".join(response).decode()


def test_without_computed_figures_the_page_says_what_to_do(sams_browser: Client) -> None:
    response = sams_browser.get(PAGE)
    assert "No figures have been computed yet" in response.content.decode()


def test_every_figure_has_a_title_a_definition_a_table_and_its_time(
    sams_browser: Client, mia: Member
) -> None:
    PointTransactionFactory.create(member=mia)
    assert compute().outcome == "DONE"
    text = sams_browser.get(PAGE).content.decode()
    for figure in FIGURES.values():
        assert figure.title in text
    assert text.count("As of ") == len(FIGURES)
    assert text.count("<svg") >= 2


def test_the_page_takes_the_same_few_queries_for_any_data(
    sams_browser: Client, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    compute()
    with django_assert_max_num_queries(5):
        sams_browser.get(PAGE)


def test_a_figure_that_fails_keeps_its_last_table_and_others_are_computed(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute()

    def failing(months: object) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1/0")

    broken = FIGURES["standing"]
    monkeypatch.setitem(FIGURES, "standing", Figure(broken.name, "", "", failing, None))
    FigureTable.objects.exclude(figure="standing").delete()
    run = compute()
    assert run.outcome == "FAILED"
    assert run.error is not None
    assert "standing: division by zero" in run.error
    assert FigureTable.objects.count() == len(FIGURES)
    with pytest.raises(DatabaseError):
        computing.compute(FIGURES["standing"])


def test_standing_counts_members_and_who_joined(db: None) -> None:
    for status in ("ACTIVE", "ACTIVE", "PAST_DUE"):
        MemberFactory.create(subscription_status=status)
    compute()
    rows = FigureTable.objects.get(pk="standing").table["rows"]
    assert rows[SubscriptionStatus.names.index("ACTIVE")] == ["Active", 2, 2, 0]
    assert rows[SubscriptionStatus.names.index("PAST_DUE")] == ["Past Due", 1, 1, 0]


def test_a_file_has_the_rows_of_the_page_and_the_export_is_logged(sams_browser: Client) -> None:
    MemberFactory.create()
    compute()
    response = export(sams_browser, "standing", format="csv")
    assert response["Content-Disposition"] == 'attachment; filename="standing.csv"'
    rows = list(csv.reader(io.StringIO(content(response))))
    assert ["Active", "1", "1", "0"] in rows
    log = AuditLog.objects.get(action="FIGURES_EXPORTED")
    assert (log.entity_id, log.details) == ("standing", {"format": "csv", "filters": {}})


def test_all_members_at_risk_can_be_exported_with_the_filter_of_the_page(
    sams_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gamification.staff_figures.BATCH_MEMBERS", 2)
    for number in range(5):
        MemberFactory.create(first_name=f"=Late {number}", last_name=None, subscription_status="PAST_DUE")
    rows = json.loads(content(export(sams_browser, "risk", format="json", risk="listed")))
    assert [(row["risk"], row["reasons"]) for row in rows] == [(30, "past due (+30)")] * 5
    assert "'=Late 0" in content(export(sams_browser, "risk", format="csv", risk=""))
    assert json.loads(content(export(sams_browser, "risk", format="json", risk="high"))) == []


@pytest.mark.parametrize(
    ("figure", "data", "status"),
    [
        ("nothing", {"format": "csv"}, 404),
        ("standing", {"format": "exe"}, 404),
        ("standing", {}, 404),
        ("risk", {"format": "csv", "risk": "x"}, 400),
        ("standing", {"format": "csv", "risk": "high"}, 400),
    ],
)
def test_filters_that_the_page_does_not_offer_are_refused(
    sams_browser: Client, figure: str, data: dict[str, str], status: int
) -> None:
    assert export(sams_browser, figure, **data).status_code == status
    assert not AuditLog.objects.exists()


def test_members_and_strangers_see_no_figures(client: Client, mia: Member) -> None:
    members_browser = Client()
    members_browser.force_login(AccountFactory.create(member=mia), "council.auth.MemberBackend")
    for browser in (client, members_browser):
        assert browser.get(PAGE).status_code in {302, 403}
        assert export(browser, "standing", format="csv").status_code in {302, 403}


def test_the_page_is_legible_on_a_phone_and_a_desktop(live: str, visitor: Visitor) -> None:
    member = MemberFactory.create()
    for ago in range(20):
        PointTransactionFactory.create(
            member=member, points=20 + 7 * ago % 30, created_at=datetime.now(UTC) - timedelta(days=ago)
        )
    PointTransactionFactory.create(member=member, action="resource_download", points=15)
    MemberFactory.create(first_name="Late", subscription_status="PAST_DUE")
    compute()
    visitor.sign_in(AccountFactory.create(is_staff=True, is_superuser=True))
    visitor.open(PAGE)
    visitor.inspect("figures")


def test_a_file_of_all_members_has_each_once_while_rows_are_written(
    sams_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gamification.staff_figures.BATCH_MEMBERS", 2)
    members = [
        MemberFactory.create(first_name=f"Late {n}", last_name=None, subscription_status="PAST_DUE")
        for n in range(8)
    ]
    last = max(members, key=lambda member: member.pk)
    response = export(sams_browser, "risk", format="json")
    parts = []
    for part in response:
        parts.append(part.decode())
        if len(parts) <= 3:
            MemberFactory.create(subscription_status="PAST_DUE")
            Member.objects.exclude(pk__in=[member.pk for member in members]).update(company="Acme")
        if len(parts) == 4:
            Member.objects.filter(pk=last.pk).delete()
    names = [row["member"] for row in json.loads("".join(parts))]
    assert len(names) == len(set(names))
    assert {member.first_name for member in members} - set(names) == {last.first_name}


@pytest.mark.parametrize("role", AdminRole)
def test_both_roles_of_staff_see_figures_and_runs_and_staff_without_rights_see_neither(
    noras_browser: Client, role: AdminRole
) -> None:
    compute()
    run = JobRun.objects.get()
    pages = [
        PAGE,
        reverse("admin:council_jobrun_changelist"),
        reverse("admin:council_jobrun_change", args=[run.pk]),
    ]
    for page in pages:
        assert noras_browser.get(page).status_code == 403
    assert export(noras_browser, "standing", format="csv").status_code == 403
    account = AccountFactory.create(is_staff=True)
    roles.assign(account, role)
    browser = Client()
    browser.force_login(account)
    texts = [browser.get(page).content.decode() for page in pages]
    assert f"{len(FIGURES)} figures" in texts[-1]
    assert export(browser, "standing", format="csv").status_code == 200
