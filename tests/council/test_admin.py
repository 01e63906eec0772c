"""The admin: who may see pages, what is never shown, and what a save writes."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from benchmarks.models import BenchmarkReview
from council.accounts.models import Account
from council.models import (
    Admin,
    AuditLog,
    EmailTemplate,
    FeatureFlag,
    FigureTable,
    JobRun,
    Member,
    PendingInvite,
    ReconciliationRun,
    StripeEvent,
    Team,
)
from council.postgres.fields import cuid
from gamification.models import DiscordActivity, DiscordActivityType, PointRule, PointTransaction
from resources.models import Resource, ResourceDownload, ResourceSearchMiss, ResourceTag
from tests.factories import (
    AccountFactory,
    MemberFactory,
    PointTransactionFactory,
    ResourceDownloadFactory,
    ResourceFactory,
    TeamFactory,
)

pytestmark = pytest.mark.any_server

FillIn = Callable[..., dict[str, Any]]
SECRET = "$2b$12$nobody-may-see-this-one"
NOW = datetime.now(UTC)
ROWS: dict[type[Any], Callable[[], Any]] = {
    Account: AccountFactory.create,
    Admin: lambda: Admin.objects.create(email=cuid(), password_hash=SECRET),
    AuditLog: lambda: AuditLog.objects.create(
        action="LOOKED", entity_type="Member", entity_id=cuid(), details={}
    ),
    DiscordActivity: lambda: DiscordActivity.objects.create(
        member=MemberFactory.create(), discord_id="81234", activity_type=DiscordActivityType.MESSAGE
    ),
    EmailTemplate: lambda: EmailTemplate.objects.create(name=cuid(), subject="Hello", body="Dear member"),
    FeatureFlag: lambda: FeatureFlag.objects.create(key=cuid()),
    FigureTable: lambda: FigureTable.objects.create(
        figure=cuid(), computed_at=NOW, table={"columns": [], "rows": [], "chart": "none"}
    ),
    JobRun: lambda: JobRun.objects.create(
        job="made", started_at=NOW, ended_at=NOW, lease_until=NOW, outcome="DONE", counts={}, notes=[]
    ),
    Member: lambda: MemberFactory.create(team=TeamFactory.create(), password_hash=SECRET),
    PendingInvite: lambda: PendingInvite.objects.create(
        team=TeamFactory.create(), seat_tier="OWNER", token=f"{SECRET}-{cuid()}", created_by="sam"
    ),
    PointRule: lambda: PointRule.objects.get(action="intro_completed"),
    PointTransaction: PointTransactionFactory.create,
    ReconciliationRun: lambda: ReconciliationRun.objects.create(triggered_by="cron"),
    Resource: ResourceFactory.create,
    ResourceDownload: ResourceDownloadFactory.create,
    ResourceSearchMiss: lambda: ResourceSearchMiss.objects.create(day=NOW.date(), words=cuid()),
    ResourceTag: lambda: ResourceTag.objects.create(name=cuid(), slug=cuid()),
    StripeEvent: lambda: StripeEvent.objects.create(
        event_id=cuid(), type="invoice.paid", payload={"paid": True}
    ),
    Team: lambda: MemberFactory.create(team=TeamFactory.create()).team,
}
EDITABLE = {Account, EmailTemplate, FeatureFlag, PointRule, Resource, ResourceTag}
FIXED = {PointRule, FigureTable}  # these pages have no form to add rows and no search
DELETABLE = {EmailTemplate, FeatureFlag, ResourceTag}
ENUM_FILTERS = [
    (Team, "subscription_status"),
    (Member, "subscription_status"),
    (Member, "seat_tier"),
    (PendingInvite, "seat_tier"),
    (Admin, "role"),
    (DiscordActivity, "activity_type"),
    (Resource, "category"),
    (Resource, "type"),
]

every_model = pytest.mark.parametrize("model", ROWS, ids=lambda model: model.__name__)


def page(model: type[Any], name: str, *args: object, **query: str) -> str:
    return reverse(
        f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args, query=query or None
    )


def test_every_table_of_ours_has_a_page() -> None:
    ours = {"accounts", "council", "gamification", "resources", "benchmarks"}
    # Reviews of benchmarks have custom pages: tests/benchmarks/test_admin.py.
    found = {model for model in admin.site._registry if model._meta.app_label in ours}
    assert found == set(ROWS) | {BenchmarkReview}


@every_model
def test_a_list_of_fifty_rows_takes_a_few_queries(
    model: type[Any], sams_browser: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(50):
        ROWS[model]()
    with django_assert_max_num_queries(6):
        response = sams_browser.get(page(model, "changelist"))
    assert response.status_code == 200
    assert model in FIXED or response.context["cl"].result_count >= 50


@every_model
def test_a_page_shows_its_row_and_no_secret(model: type[Any], sams_browser: Client) -> None:
    row = ROWS[model]()
    for name, *key in (("changelist",), ("change", row.pk), ("history", row.pk)):
        response = sams_browser.get(page(model, name, *key), follow=True)
        assert response.status_code == 200
        # Only a resource's history page redirects, to the audit log.
        assert [url.partition("?")[0] for url, _ in response.redirect_chain] == (
            ["/admin/council/auditlog/"] if (model, name) == (Resource, "history") else []
        )
        assert SECRET not in response.content.decode()
        assert "password_hash" not in response.content.decode()
        assert "passwordHash" not in response.content.decode()


@every_model
def test_search_finds_or_finds_nothing(model: type[Any], sams_browser: Client) -> None:
    ROWS[model]()
    if admin.site.get_model_admin(model).search_fields:
        assert (
            sams_browser.get(page(model, "changelist", q="nothing like it")).context["cl"].result_count == 0
        )


@every_model
def test_only_rows_that_staff_maintain_can_be_added_changed_or_deleted(
    model: type[Any], sams_browser: Client
) -> None:
    row = ROWS[model]()
    may_edit, may_delete = 200 if model in EDITABLE else 403, 200 if model in DELETABLE else 403
    assert sams_browser.get(page(model, "add")).status_code == (403 if model in FIXED else may_edit)
    assert sams_browser.post(page(model, "change", row.pk), {}).status_code == may_edit
    assert sams_browser.get(page(model, "delete", row.pk)).status_code == may_delete
    actions = [
        value
        for value, _ in admin.site.get_model_admin(model).get_action_choices(
            sams_browser.get("/admin/").wsgi_request
        )
    ]
    assert ("delete_selected" in actions) == (model in DELETABLE - {ResourceTag})  # tags are merged instead


@every_model
def test_staff_without_permission_are_refused(model: type[Any], noras_browser: Client) -> None:
    row = ROWS[model]()
    assert noras_browser.get(page(model, "changelist")).status_code == 403
    assert noras_browser.get(page(model, "change", row.pk)).status_code == 403


@every_model
def test_outsiders_are_sent_to_sign_in(model: type[Any], client: Client, db: None) -> None:
    row = ROWS[model]()
    for address in (page(model, "changelist"), page(model, "change", row.pk)):
        response = client.get(address)
        assert (response.status_code, response.headers["Location"]) == (302, f"/admin/login/?next={address}")


@every_model
def test_pages_have_no_inline_script_or_style(model: type[Any], sams_browser: Client) -> None:
    row = ROWS[model]()
    for address in (page(model, "changelist"), page(model, "change", row.pk)):
        html = sams_browser.get(address).content.decode()
        assert "<style" not in html
        assert " style=" not in html
        assert "<script>" not in html


@pytest.mark.parametrize(("model", "field"), ENUM_FILTERS)
def test_a_filter_with_an_invalid_value_redirects_to_the_whole_list(
    model: type[Any], field: str, sams_browser: Client
) -> None:
    ROWS[model]()
    for lookup in (field, f"{field}__exact", f"{field}__in"):
        response = sams_browser.get(page(model, "changelist", **{lookup: "NONSENSE"}), follow=True)
        assert response.redirect_chain == [(f"{page(model, 'changelist')}?e=1", 302)]
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (Member, {"password_hash__startswith": "$2b"}),
        (Member, {"password_hash": SECRET}),
        (Admin, {"password_hash__startswith": "$2b"}),
        (PendingInvite, {"token__startswith": "$2b"}),
        (Account, {"password__startswith": "md5"}),
        (PointTransaction, {"member__password_hash__startswith": "$2b"}),
        (Member, {"account": "1"}),
    ],
)
def test_a_secret_cannot_be_searched(model: type[Any], query: dict[str, str], sams_browser: Client) -> None:
    ROWS[model]()
    assert sams_browser.get(page(model, "changelist", **query)).status_code == 400


@pytest.mark.parametrize("query", [{"email": "\0"}, {"team": "\0"}, {"q": "\0"}])
def test_a_nul_is_not_a_server_error(query: dict[str, str], sams_browser: Client) -> None:
    assert sams_browser.get(page(Member, "changelist", **query)).status_code in {200, 400}
    assert sams_browser.get(page(Member, "change", "\0")).status_code == 302


@pytest.mark.parametrize("term", ["mia meyer", "MIA@acme", "acme", "81234", "mia#1"])
def test_members_are_found_by_name_email_company_and_discord(
    term: str, sams_browser: Client, mia: Member, lars: Member
) -> None:
    Member.objects.filter(pk=mia.pk).update(discord_id="81234", discord_username="mia#1")
    response = sams_browser.get(page(Member, "changelist", q=term))
    assert [member.pk for member in response.context["cl"].result_list] == [mia.pk]


@pytest.mark.parametrize("model", [Member, Team])
def test_nobody_can_change_the_gateway_s_rows_here(
    model: type[Any], sams_browser: Client, client: Client
) -> None:
    row = ROWS[model]()
    before = model.objects.values().get(pk=row.pk)
    client.force_login(
        AccountFactory.create(
            is_staff=True,
            permissions=[f"council.{act}_{model._meta.model_name}" for act in ("view", "change")],
        )
    )
    for browser in (sams_browser, client):
        address = page(model, "change", row.pk)
        response = browser.get(address)
        assert response.status_code == 200
        assert 'name="_save"' not in response.content.decode()
        given = {"email": "taken@evil.example", "name": "Mine", "subscription_status": "ACTIVE"}
        assert (
            browser.post(
                address, {**given, "members-TOTAL_FORMS": "999", "members-INITIAL_FORMS": "9"}
            ).status_code
            == 403
        )
        assert browser.get(page(model, "add")).status_code == 403
    assert model.objects.values().get(pk=row.pk) == before
    assert not AuditLog.objects.exists()


@pytest.fixture
def mail(db: None) -> EmailTemplate:
    return EmailTemplate.objects.create(name="welcome", subject="Hello", body="Dear member")


def test_a_save_keeps_changes_that_others_made_while_the_form_was_open(
    sams_browser: Client, fill_in: FillIn, mail: EmailTemplate
) -> None:
    address = page(EmailTemplate, "change", mail.pk)
    form = fill_in(sams_browser.get(address), subject="Welcome")
    EmailTemplate.objects.update(body="Dear friend")
    assert sams_browser.post(address, form).status_code == 302
    mail.refresh_from_db()
    assert (mail.subject, mail.body) == ("Welcome", "Dear friend")


def test_a_save_writes_the_changed_columns_only(
    sams_browser: Client, fill_in: FillIn, mail: EmailTemplate
) -> None:
    address = page(EmailTemplate, "change", mail.pk)
    form = fill_in(sams_browser.get(address), subject="Welcome")
    with CaptureQueriesContext(connection) as captured:
        sams_browser.post(address, form)
    updates = [
        query["sql"] for query in captured.captured_queries if 'UPDATE "EmailTemplate"' in query["sql"]
    ]
    assert len(updates) == 1
    assert updates[0].count(" = ") == 4  # subject, updatedAt, updatedBy, and the row's id
    assert '"updatedAt" = ' in updates[0]


def test_a_save_without_a_change_writes_nothing(
    sams_browser: Client, fill_in: FillIn, mail: EmailTemplate
) -> None:
    before = EmailTemplate.objects.values().get(pk=mail.pk)
    address = page(EmailTemplate, "change", mail.pk)
    assert sams_browser.post(address, fill_in(sams_browser.get(address))).status_code == 302
    assert EmailTemplate.objects.values().get(pk=mail.pk) == before
    assert not AuditLog.objects.exists()


def test_a_name_that_is_used_gives_a_message(
    sams_browser: Client, fill_in: FillIn, mail: EmailTemplate
) -> None:
    address = page(EmailTemplate, "add")
    form = fill_in(sams_browser.get(address), name="welcome", subject="Hello", body="Dear")
    assert (
        "Email template with this Name already exists." in sams_browser.post(address, form).content.decode()
    )


def test_a_flag_is_added_with_the_database_defaults(sams_browser: Client, fill_in: FillIn) -> None:
    new = sams_browser.get(page(FeatureFlag, "add"))
    assert "DatabaseDefault" not in new.content.decode()
    assert sams_browser.post(page(FeatureFlag, "add"), fill_in(new, key="beta")).status_code == 302
    flag = FeatureFlag.objects.get(key="beta")
    assert (flag.category, flag.enabled, flag.description) == ("general", False, None)


def test_single_lines_are_inputs_and_the_body_is_a_textarea(sams_browser: Client, mia: Member) -> None:
    assert "<textarea" not in sams_browser.get(page(Member, "change", mia.pk)).content.decode()
    html = sams_browser.get(page(EmailTemplate, "add")).content.decode()
    assert html.count("<textarea") == 1
    assert '<textarea name="body"' in html


def test_an_email_template_keeps_its_lines_and_names_who_changed_it(
    sams_browser: Client, fill_in: FillIn, sam: Account
) -> None:
    mail = EmailTemplate.objects.create(name="welcome", subject="Hello", body="Dear\n\nmember\n")
    address = page(EmailTemplate, "change", mail.pk)
    form = fill_in(sams_browser.get(address), subject="Welcome", name="other")
    form |= {"body": "Dear\r\n\r\nmember\r\n", "initial-body": "Dear\r\n\r\nmember\r\n"}
    assert sams_browser.post(address, form).status_code == 302
    mail.refresh_from_db()
    assert (mail.name, mail.subject, mail.body) == ("welcome", "Welcome", "Dear\n\nmember\n")
    assert mail.updated_by == "sam"

    form |= {"body": "Dear\r\nmember"}
    sams_browser.post(address, form)
    mail.refresh_from_db()
    assert mail.body == "Dear\nmember"


def test_a_change_by_the_gateway_s_staff_names_their_id(db: None, client: Client, fill_in: FillIn) -> None:
    boss = Admin.objects.create(email="boss@council.example", password_hash=SECRET)
    client.force_login(AccountFactory.create(admin=boss, is_staff=True, is_superuser=True))
    response = client.post(
        page(FeatureFlag, "add"), fill_in(client.get(page(FeatureFlag, "add")), key="beta")
    )
    assert response.status_code == 302
    flag = FeatureFlag.objects.get(key="beta")
    assert (flag.updated_by, flag.category, flag.enabled) == (boss.pk, "general", False)


def test_a_team_lists_its_members_without_a_form(sams_browser: Client, fill_in: FillIn, carl: Member) -> None:
    assert carl.team
    address = page(Team, "change", carl.team.pk)
    response = sams_browser.get(address)
    assert page(Member, "change", carl.pk) in response.content.decode()
    assert 'name="members-0-email"' not in response.content.decode()


def test_an_invitations_token_is_masked_even_when_short(sams_browser: Client) -> None:
    team = TeamFactory.create()
    for token in ("abcd", "abcdefgh-ijkl-mnop"):
        invite = PendingInvite.objects.create(team=team, seat_tier="OWNER", token=token, created_by="sam")
        assert token not in sams_browser.get(page(PendingInvite, "change", invite.pk)).content.decode()


def test_details_are_indented_and_escaped_and_secrets_in_them_are_hidden(sams_browser: Client) -> None:
    details = {"name": "<b>Zoë</b>", "resetToken": SECRET, "nested": [{"password": SECRET}]}
    entry = AuditLog.objects.create(action="LOOKED", entity_type="Member", entity_id="x", details=details)
    html = sams_browser.get(page(AuditLog, "change", entry.pk)).content.decode()
    assert "<pre>{\n  &quot;name&quot;: &quot;&lt;b&gt;Zoë&lt;/b&gt;&quot;" in html
    assert html.count("(hidden)") == 2
    assert SECRET not in html


def test_payloads_tokens_and_hashes_are_never_shown(sams_browser: Client) -> None:
    event = StripeEvent.objects.create(event_id="evt_1", type="x", payload={"secret": "sk_live_1234"})
    bare = StripeEvent.objects.create(event_id="evt_2", type="x")
    invite = ROWS[PendingInvite]()
    for address, words in [
        (page(StripeEvent, "change", event.pk), "set, never shown"),
        (page(StripeEvent, "change", bare.pk), "not set"),
        (page(PendingInvite, "change", invite.pk), "set, never shown"),
    ]:
        html = sams_browser.get(address).content.decode()
        assert words in html
        assert "sk_live" not in html
        assert invite.token[:4] not in html
    own = Account.objects.create_superuser("own", "a horse of own's")
    html = sams_browser.get(page(Account, "change", own.pk)).content.decode()
    assert "set, never shown" in html
    assert own.password[:4] not in html
    for query in ({"payload__contains": "{}"}, {"payload__secret": "x"}):
        assert sams_browser.get(page(StripeEvent, "changelist", **query)).status_code == 400


def test_long_lists_are_not_counted_completely(sams_browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("council.model_admin.BoundedPaginator.max_rows", 3)
    for _ in range(5):
        ROWS[AuditLog]()
    response = sams_browser.get(page(AuditLog, "changelist"))
    assert response.context["cl"].result_count == 3


def test_a_link_without_a_field_and_an_invalid_choice_are_not_server_errors(sams_browser: Client) -> None:
    group = Group.objects.create(name="Closers")
    assert sams_browser.get(page(Group, "change", group.pk), {"_to_field": ""}).status_code == 200
    chosen = {"action": "delete_selected", "_selected_action": "word"}

    response = sams_browser.post(page(Group, "changelist"), chosen, follow=True)

    assert response.status_code == 200
    assert "A chosen row is not in this list." in response.content.decode()
