"""The ledger's page, and "Adjust points"."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from council import roles
from council.accounts.models import Account
from council.models import AdminRole, AuditLog, Member
from gamification import ledger
from gamification.models import PointRule, PointTransaction
from tests.factories import AccountFactory, MemberFactory, PointTransactionFactory

pytestmark = pytest.mark.any_server

FillIn = Callable[..., dict[str, Any]]
MEMBERS = "/admin/council/member/"
LEDGER = "/admin/gamification/pointtransaction/"
REASON = "Helped at the meetup"


def choose(browser: Client, *members: Member, address: str = MEMBERS) -> Any:
    """Select members in the list and "Adjust points", as the list's form does."""
    selected = {"_selected_action": [member.pk for member in members]}
    return browser.post(address, {"action": "adjust_points", "index": "0", "select_across": "0", **selected})


def total(member: Member) -> int:
    return Member.objects.get(pk=member.pk).total_points


def test_the_form_shows_each_member_and_the_total(sams_browser: Client, mia: Member, carl: Member) -> None:
    PointTransactionFactory.create(member=mia, points=30)
    response = choose(sams_browser, mia, carl)
    html = response.content.decode()
    assert '<th scope="row">Mia Meyer</th><td>30</td><td>-</td>' in html
    assert '<th scope="row">Carl Cohen</th><td>0</td><td>-</td>' in html
    assert "errornote" not in html
    assert "<script>" not in html
    assert " style=" not in html


def test_points_are_adjusted_for_all_selected(
    sams_browser: Client, fill_in: FillIn, mia: Member, carl: Member, lars: Member
) -> None:
    form = fill_in(
        choose(sams_browser, mia, carl), points="50", reason=f"{REASON}\r\nand more", record="Record"
    )
    response = sams_browser.post(f"{MEMBERS}?o=1", form, follow=True)
    assert response.redirect_chain == [(f"{MEMBERS}?o=1", 302)]
    assert "+50 points recorded for 2 members." in response.content.decode()
    assert (total(mia), total(carl), total(lars)) == (50, 50, 0)
    assert PointTransaction.objects.filter(metadata__reason=f"{REASON}\nand more").count() == 2
    assert set(AuditLog.objects.values_list("performed_by", flat=True)) == {"sam"}


def test_a_form_sent_twice_counts_once(sams_browser: Client, fill_in: FillIn, mia: Member) -> None:
    form = fill_in(choose(sams_browser, mia), points="50", reason=REASON, record="Record")
    sams_browser.post(MEMBERS, form)
    response = sams_browser.post(MEMBERS, form, follow=True)
    assert "Already recorded: this form was sent before." in response.content.decode()
    assert (total(mia), AuditLog.objects.count()) == (50, 1)


def test_two_forms_count_twice(sams_browser: Client, fill_in: FillIn, mia: Member) -> None:
    for _ in range(2):
        form = fill_in(choose(sams_browser, mia), points="50", reason=REASON, record="Record")
        sams_browser.post(MEMBERS, form)
    assert total(mia) == 100


def test_a_preview_shows_the_totals_and_writes_nothing(
    sams_browser: Client, fill_in: FillIn, mia: Member
) -> None:
    PointTransactionFactory.create(member=mia, points=30)
    form = fill_in(choose(sams_browser, mia), points="-30", reason=REASON, preview="Preview")
    response = sams_browser.post(MEMBERS, form)
    assert '<th scope="row">Mia Meyer</th><td>30</td><td>0</td>' in response.content.decode()
    assert total(mia) == 30
    assert fill_in(response)["form_key"] == form["form_key"]
    sams_browser.post(MEMBERS, fill_in(response, record="Record"))
    assert total(mia) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points": "0"}, "0 points change nothing."),
        ({"points": "1.5"}, "Enter a whole number."),
        ({"points": ""}, "This field is required."),
        ({"points": str(2**31)}, "Ensure this value is less than or equal to 2147483647."),
        ({"points": str(-(2**31) - 1)}, "Ensure this value is greater than or equal to -2147483648."),
        ({"points": "-1"}, "Mia Meyer has 0 points and would have -1."),
        ({"reason": " too short "}, "Ensure this value has at least 10 characters"),
        ({"reason": "x" * 501}, "Ensure this value has at most 500 characters"),
        ({"reason": f"{REASON}\0"}, "Null characters are not allowed."),
        ({"form_key": "x"}, "Enter a valid UUID."),
    ],
)
@pytest.mark.parametrize("button", ["record", "preview"])
def test_an_error_is_shown_and_nothing_is_written(
    changes: dict[str, str], words: str, button: str, sams_browser: Client, fill_in: FillIn, mia: Member
) -> None:
    form = fill_in(choose(sams_browser, mia), **{"points": "5", "reason": REASON, button: "1", **changes})
    response = sams_browser.post(MEMBERS, form)
    assert response.status_code == 200
    assert words in response.content.decode()
    assert "Nothing was recorded." in response.content.decode()
    assert not PointTransaction.objects.exists()
    assert not AuditLog.objects.exists()


def test_a_reason_of_500_characters_may_have_several_lines(
    sams_browser: Client, fill_in: FillIn, mia: Member
) -> None:
    reason = "\r\n".join(["x" * 249, "y" * 250])
    sams_browser.post(MEMBERS, fill_in(choose(sams_browser, mia), points="5", reason=reason, record="Record"))
    assert total(mia) == 5


def test_a_filter_that_no_longer_matches_a_member_changes_nothing(
    sams_browser: Client, fill_in: FillIn, mia: Member, carl: Member
) -> None:
    address = f"{MEMBERS}?subscription_status__exact=ACTIVE&q=acme"
    form = fill_in(
        choose(sams_browser, mia, carl, address=address), points="5", reason=REASON, record="Record"
    )
    Member.objects.filter(pk=mia.pk).update(subscription_status="PAST_DUE")
    sams_browser.post(address, form)
    assert (total(mia), total(carl)) == (5, 5)


def test_everybody_can_be_selected_across_pages(sams_browser: Client, fill_in: FillIn, mia: Member) -> None:
    for _ in range(120):
        MemberFactory.create()
    selected = {"action": "adjust_points", "index": "0", "select_across": "1", "_selected_action": [mia.pk]}
    form = fill_in(sams_browser.post(MEMBERS, selected), points="5", reason=REASON, record="Record")
    sams_browser.post(MEMBERS, form)
    assert Member.objects.filter(total_points=5).count() == 121


def test_too_many_members_at_once_are_refused(
    sams_browser: Client, mia: Member, carl: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gamification.admin.MemberWithPointsAdmin.max_members_adjusted", 1)
    response = choose(sams_browser, mia, carl)
    assert response.status_code == 302
    assert "2 members are too many. Select at most 1." in sams_browser.get(MEMBERS).content.decode()


def test_a_member_deleted_meanwhile_stops_the_adjustment(
    sams_browser: Client, fill_in: FillIn, mia: Member, lars: Member
) -> None:
    form = fill_in(choose(sams_browser, mia, lars), points="5", reason=REASON, record="Record")
    lars.delete()
    response = sams_browser.post(MEMBERS, form, follow=True)
    assert "Some of the members no longer exist. Select again." in response.content.decode()
    assert total(mia) == 0


def test_only_staff_who_may_add_to_the_ledger_adjust_points(
    mia: Member, fill_in: FillIn, client: Client
) -> None:
    reader = AccountFactory.create(
        is_staff=True, permissions=["council.view_member", "council.change_member"]
    )
    adjuster = AccountFactory.create(
        is_staff=True, permissions=["council.view_member", "gamification.add_pointtransaction"]
    )
    client.force_login(adjuster)
    form = fill_in(choose(client, mia), points="5", reason=REASON, record="Record")
    client.force_login(reader)
    assert "Adjust points" not in client.get(MEMBERS).content.decode()
    client.post(MEMBERS, form)
    assert total(mia) == 0
    client.force_login(adjuster)
    client.post(MEMBERS, form)
    assert total(mia) == 5


def test_staff_without_permission_and_outsiders_cannot_adjust_points(
    sams_browser: Client, noras_browser: Client, client: Client, fill_in: FillIn, mia: Member
) -> None:
    form = fill_in(choose(sams_browser, mia), points="5", reason=REASON, record="Record")
    assert noras_browser.post(MEMBERS, form).status_code == 403
    assert client.post(MEMBERS, form).status_code == 302
    assert total(mia) == 0


def test_the_ledger_is_read_only_even_with_every_permission(client: Client, mia: Member) -> None:
    row = PointTransactionFactory.create(member=mia)
    names = [f"gamification.{verb}_pointtransaction" for verb in ("view", "add", "change", "delete")]
    client.force_login(AccountFactory.create(is_staff=True, permissions=names))
    assert client.get(f"{LEDGER}add/").status_code == 403
    assert client.post(f"{LEDGER}{row.pk}/change/", {"points": "9"}).status_code == 403
    assert client.post(f"{LEDGER}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.get(f"{LEDGER}{row.pk}/change/").status_code == 200


def test_the_ledger_shows_reasons_newest_first(sams_browser: Client, mia: Member, sam: Account) -> None:
    old = PointTransactionFactory.create(
        member=mia, created_at="2026-01-01T00:00Z", metadata=["not an object"]
    )
    new = PointTransactionFactory.create(
        member=mia, created_at="2026-02-01T00:00Z", metadata={"reason": "Won the <quiz>"}
    )
    response = sams_browser.get(LEDGER)
    assert list(response.context["cl"].result_list) == [new, old]
    assert "Won the &lt;quiz&gt;" in response.content.decode()


def test_the_ledger_is_filtered_by_action(sams_browser: Client, mia: Member) -> None:
    PointTransactionFactory.create(member=mia)
    sync = PointTransactionFactory.create(member=mia, action="discord_activity")
    assert (
        '<a href="?action=discord_activity">Discord activity</a>' in sams_browser.get(LEDGER).content.decode()
    )
    assert list(sams_browser.get(f"{LEDGER}?action=discord_activity").context["cl"].result_list) == [sync]


@pytest.mark.parametrize("term", ["email", "pk"])
def test_a_member_s_rows_are_found_by_email_or_id_and_an_entry_by_its_id(
    term: str, sams_browser: Client, mia: Member, carl: Member
) -> None:
    entry = PointTransactionFactory.create(member=mia, points=1234)
    PointTransactionFactory.create(member=carl)
    for wanted in (getattr(mia, term), entry.pk):
        results = sams_browser.get(LEDGER, {"q": wanted}).context["cl"].result_list
        assert list(results) == [entry]


def test_a_members_page_links_to_their_ledger_rows(sams_browser: Client, mia: Member, lars: Member) -> None:
    mine = PointTransactionFactory.create(member=mia)
    PointTransactionFactory.create(member=lars)
    address = reverse("admin:gamification_pointtransaction_changelist", query={"member__id__exact": mia.pk})
    assert f'href="{address}"' in sams_browser.get(f"{MEMBERS}{mia.pk}/change/").content.decode()
    assert list(sams_browser.get(address).context["cl"].result_list) == [mine]


@pytest.mark.parametrize(
    "query",
    ["", "?p=20", "?action=benchmark_submission", "?member__id__exact=m1", "?q=m1@example.com", "?q=p7"],
)
def test_a_long_ledger_is_neither_counted_nor_sorted_nor_scanned(query: str, sams_browser: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO "Member" (id, email, "updatedAt")
            SELECT 'm' || n, 'm' || n || '@example.com', now() FROM generate_series(1, 200) AS n;
            INSERT INTO "PointTransaction" (id, "memberId", action, points, "createdAt")
            SELECT 'p' || n, 'm' || (1 + n %% 200), CASE n %% 500 WHEN 0 THEN 'benchmark_submission' ELSE 'x' END,
                   1, timestamp '2026-01-01' + n * interval '1 second'
              FROM generate_series(1, 30000) AS n;
            ANALYZE "Member", "PointTransaction"
            """,
            [],
        )
    with CaptureQueriesContext(connection) as captured:
        assert sams_browser.get(f"{LEDGER}{query}").status_code == 200
    statements = [q["sql"] for q in captured.captured_queries if 'FROM "PointTransaction"' in q["sql"]]
    assert len(statements) == 2
    for statement in statements:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {statement}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        if "count(" in statement.lower():
            assert "LIMIT 10000" in statement
        elif not query or "p=" in query:
            assert "Incremental Sort" in plan
            assert 'Seq Scan on "PointTransaction"' not in plan
        else:
            assert 'Seq Scan on "PointTransaction"' not in plan, plan


def reversal_of(entry: PointTransaction) -> str:
    return f"{LEDGER}{entry.pk}/reverse/"


def test_an_entry_is_reversed_with_a_reason(sams_browser: Client, fill_in: FillIn, mia: Member) -> None:
    entry = PointTransactionFactory.create(member=mia, points=25)
    PointTransactionFactory.create(member=mia, points=5)
    page = sams_browser.get(f"{LEDGER}{entry.pk}/change/")
    assert f'<a href="{reversal_of(entry)}">Reverse</a>' in page.content.decode()
    page = sams_browser.get(reversal_of(entry))
    assert "<td>30</td><td>5</td>" in page.content.decode()

    response = sams_browser.post(reversal_of(entry), fill_in(page, reason=REASON), follow=True)

    assert "Reversed: -25 points recorded." in response.content.decode()
    assert response.redirect_chain == [(f"{LEDGER}?member__id__exact={mia.pk}", 302)]
    row = PointTransaction.objects.get(reverses=entry)
    assert (row.points, row.reason, total(mia)) == (-25, REASON, 5)
    assert AuditLog.objects.get().performed_by == "sam"


def test_a_reversal_sent_twice_counts_once(sams_browser: Client, fill_in: FillIn, mia: Member) -> None:
    entry = PointTransactionFactory.create(member=mia, points=25)
    form = fill_in(sams_browser.get(reversal_of(entry)), reason=REASON)
    sams_browser.post(reversal_of(entry), form)
    response = sams_browser.post(reversal_of(entry), form, follow=True)
    assert "Already reversed: an entry can be reversed only once." in response.content.decode()
    assert (total(mia), AuditLog.objects.count()) == (0, 1)


def test_a_reversal_has_no_button_and_cannot_be_reversed(
    sams_browser: Client, fill_in: FillIn, mia: Member
) -> None:
    entry = PointTransactionFactory.create(member=mia, points=25)
    sams_browser.post(reversal_of(entry), fill_in(sams_browser.get(reversal_of(entry)), reason=REASON))
    row = PointTransaction.objects.get(reverses=entry)
    assert "/reverse/" not in sams_browser.get(f"{LEDGER}{row.pk}/change/").content.decode()
    response = sams_browser.post(reversal_of(row), {"reason": REASON})
    assert "a reversal and cannot be reversed. Adjust" in response.content.decode()
    assert total(mia) == 0


@pytest.mark.parametrize("reason", ["", "too short", "x" * 501, f"{REASON}\0"])
def test_a_reversal_without_a_proper_reason_writes_nothing(
    reason: str, sams_browser: Client, mia: Member
) -> None:
    entry = PointTransactionFactory.create(member=mia, points=25)
    response = sams_browser.post(reversal_of(entry), {"reason": reason})
    assert "Nothing was recorded." in response.content.decode()
    assert total(mia) == 25


def test_only_staff_who_may_add_to_the_ledger_reverse_entries(client: Client, mia: Member) -> None:
    entry = PointTransactionFactory.create(member=mia, points=25)
    for permissions, status in (
        (["gamification.view_pointtransaction"], 403),
        (["gamification.view_pointtransaction", "gamification.add_pointtransaction"], 200),
    ):
        client.force_login(AccountFactory.create(is_staff=True, permissions=permissions))
        assert client.get(reversal_of(entry)).status_code == status
        offered = "/reverse/" in client.get(f"{LEDGER}{entry.pk}/change/").content.decode()
        assert offered is (status == 200)
    client.logout()
    assert client.post(reversal_of(entry), {"reason": REASON}).status_code == 302
    assert total(mia) == 25


@pytest.mark.parametrize("entry", ["cgone", "%00"])
def test_reversing_an_unknown_entry_is_not_found(entry: str, sams_browser: Client) -> None:
    assert sams_browser.get(f"{LEDGER}{entry}/reverse/").status_code == 404


RULE = "/admin/gamification/pointrule/resource_download/change/"


def test_a_changed_rule_names_who_changed_it_and_is_logged(sams_browser: Client, fill_in: FillIn) -> None:
    form = fill_in(sams_browser.get(RULE), points="7")
    assert sams_browser.post(RULE, form).status_code == 302
    rule = PointRule.objects.get(action="resource_download")
    assert (rule.points, rule.enabled, rule.updated_by) == (7, True, "sam")
    log = AuditLog.objects.get()
    assert (log.action, log.entity_id, log.performed_by) == ("POINT_RULE_CHANGED", "resource_download", "sam")
    assert log.details == {"points": {"from": 5, "to": 7}}


def test_a_rule_saved_without_a_change_is_not_logged(sams_browser: Client, fill_in: FillIn) -> None:
    assert sams_browser.post(RULE, fill_in(sams_browser.get(RULE))).status_code == 302
    assert not AuditLog.objects.exists()


def test_a_rule_cannot_give_negative_points(sams_browser: Client, fill_in: FillIn) -> None:
    response = sams_browser.post(RULE, fill_in(sams_browser.get(RULE), points="-1"))
    assert "A rule gives 0 points or more." in response.content.decode()
    assert PointRule.objects.get(action="resource_download").points == 5


def test_only_super_admins_change_rules_and_nobody_adds_or_deletes_them(
    client: Client, sams_browser: Client, db: None
) -> None:
    assert sams_browser.get("/admin/gamification/pointrule/add/").status_code == 403
    assert sams_browser.post(RULE.replace("change", "delete")).status_code == 403
    client.force_login(
        AccountFactory.create(is_staff=True, permissions=sorted(roles.PERMISSIONS[AdminRole.ADMIN]))
    )
    assert client.get(RULE).status_code == 403
    client.force_login(
        AccountFactory.create(is_staff=True, permissions=sorted(roles.PERMISSIONS[AdminRole.SUPER_ADMIN]))
    )
    assert client.get(RULE).status_code == 200


def test_a_reversed_entry_links_to_its_reversal(sams_browser: Client, mia: Member, sam: Account) -> None:
    entry = PointTransactionFactory.create(member=mia, points=25)
    row = ledger.reverse(entry_id=entry.pk, reason=REASON, performed_by=sam)
    html = sams_browser.get(f"{LEDGER}{entry.pk}/change/").content.decode()
    assert f'<a href="{LEDGER}{row.pk}/change/">Was reversed</a>' in html
    assert "/reverse/" not in html
