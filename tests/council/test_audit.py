"""Every change by staff adds an audit row with the old and new values, in the transaction of the change."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from benchmarks.admin import BenchmarkReviewAdmin
from council import audit
from council.accounts.models import Account
from council.model_admin import ModelAdmin
from council.models import AuditLog, EmailTemplate, FeatureFlag
from gamification.models import PointRule
from tests.factories import AccountFactory

pytestmark = [pytest.mark.django_db, pytest.mark.any_server]
FillIn = Callable[..., dict[str, Any]]


def page(name: str, *args: object) -> str:
    return reverse(f"admin:{name}", args=args)


def entries() -> list[tuple[str, str, str, Any, str | None]]:
    return [
        (row.action, row.entity_type, row.entity_id, row.details, row.performed_by)
        for row in AuditLog.objects.order_by("created_at", "pk")
    ]


def test_adding_changing_and_deleting_a_row_adds_three_audit_rows(
    sams_browser: Client, fill_in: FillIn
) -> None:
    add = page("council_featureflag_add")
    sams_browser.post(add, fill_in(sams_browser.get(add), key="beta"))
    flag = FeatureFlag.objects.get()
    change = page("council_featureflag_change", flag.pk)
    sams_browser.post(change, fill_in(sams_browser.get(change), enabled="on"))
    sams_browser.post(page("council_featureflag_delete", flag.pk), {"post": "yes"})
    assert not FeatureFlag.objects.exists()
    added, changed, deleted = entries()
    assert added[:3] == ("FEATURE_FLAG_ADDED", "FeatureFlag", flag.pk)
    assert added[3]["key"] == {"from": None, "to": "beta"}
    assert changed == (
        "FEATURE_FLAG_CHANGED",
        "FeatureFlag",
        flag.pk,
        {"enabled": {"from": False, "to": True}},
        "sam",
    )
    assert deleted[0] == "FEATURE_FLAG_DELETED"
    assert deleted[3]["enabled"] == {"from": True, "to": None}


def test_deleting_from_the_list_adds_an_audit_row_for_each(sams_browser: Client) -> None:
    flags = [FeatureFlag.objects.create(key=key) for key in ("a", "b")]
    form = {"action": "delete_selected", "_selected_action": [flag.pk for flag in flags], "post": "yes"}
    sams_browser.post(page("council_featureflag_changelist"), form)
    assert {entry[2] for entry in entries()} == {flag.pk for flag in flags}


def test_the_old_value_comes_from_the_database_not_from_the_form(
    sams_browser: Client, fill_in: FillIn
) -> None:
    mail = EmailTemplate.objects.create(name="welcome", subject="Hello", body="Dear")
    address = page("council_emailtemplate_change", mail.pk)
    form = fill_in(sams_browser.get(address), subject="Welcome")
    EmailTemplate.objects.update(subject="Good day")
    sams_browser.post(address, form)
    assert entries()[0][3] == {"subject": {"from": "Good day", "to": "Welcome"}}


def test_closing_an_account_and_its_groups_are_recorded(sams_browser: Client, fill_in: FillIn) -> None:
    account = AccountFactory.create(username="own", is_staff=True)
    group = Group.objects.create(name="Curators")
    address = page("accounts_account_change", account.pk)
    form = fill_in(sams_browser.get(address), groups=[group.pk])
    form.pop("is_active")
    assert sams_browser.post(address, form).status_code == 302
    [entry] = entries()
    assert entry[:3] == ("ACCOUNT_CHANGED", "Account", str(account.pk))
    assert entry[3] == {
        "is_active": {"from": True, "to": False},
        "groups": {"from": [], "to": ["Curators"]},
    }


def test_a_new_password_is_recorded_without_its_value(sams_browser: Client, sam: Account) -> None:
    account = Account.objects.create_user("own", "a horse of own's")
    form = {
        "password1": "correct horse battery",
        "password2": "correct horse battery",
        "usable_password": "true",
    }
    address = f"/admin/accounts/account/{account.pk}/password/"
    assert sams_browser.post(address, form).status_code == 302
    [entry] = entries()
    assert entry[3] == {"password": {"from": "(hidden)", "to": "(hidden)"}}
    sam.set_password("a horse of sam's")
    sam.save()
    sams_browser.force_login(sam)
    form = {
        "old_password": "a horse of sam's",
        "new_password1": "battery staple",
        "new_password2": "battery staple",
    }
    assert sams_browser.post("/admin/password_change/", form).status_code == 302
    assert entries()[1][3] == {"password": {"from": "(hidden)", "to": "(hidden)"}}


def test_a_failed_change_adds_no_audit_row(
    sams_browser: Client, fill_in: FillIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("after the change")

    flag = FeatureFlag.objects.create(key="beta")
    address = page("council_featureflag_change", flag.pk)
    form = fill_in(sams_browser.get(address), enabled="on")
    monkeypatch.setattr("django.contrib.admin.ModelAdmin.log_change", fail)
    sams_browser.raise_request_exception = False
    assert sams_browser.post(address, form).status_code == 500
    flag.refresh_from_db()
    assert (flag.enabled, entries()) == (False, [])


def test_a_block_records_what_it_changes_and_deletes_and_nothing_else(sam: Account) -> None:
    changed, deleted, left = (FeatureFlag.objects.create(key=key) for key in "abc")
    with audit.changes_of(FeatureFlag.objects.all(), by=sam):
        FeatureFlag.objects.filter(pk=changed.pk).update(enabled=True)
        deleted.delete()
    assert {(entry[0], entry[2]) for entry in entries()} == {
        ("FEATURE_FLAG_CHANGED", changed.pk),
        ("FEATURE_FLAG_DELETED", entries()[1][2]),
    }
    assert left.pk not in {entry[2] for entry in entries()}
    with pytest.raises(RuntimeError), audit.changes_of(FeatureFlag.objects.all(), by=sam):
        FeatureFlag.objects.update(enabled=False)
        raise RuntimeError("half-way")
    assert FeatureFlag.objects.filter(enabled=True).exists()
    assert len(entries()) == 2


def test_a_rule_s_row_holds_what_changed(sams_browser: Client, fill_in: FillIn) -> None:
    rule = PointRule.objects.get(action="intro_completed")
    address = page("gamification_pointrule_change", rule.pk)
    sams_browser.post(address, fill_in(sams_browser.get(address), points="30"))
    assert entries() == [
        ("POINT_RULE_CHANGED", "PointRule", "intro_completed", {"points": {"from": 25, "to": 30}}, "sam")
    ]


def test_every_page_that_changes_rows_writes_the_audit_log() -> None:
    """Django's own pages would change rows without it."""
    others = [type(page) for page in admin.site._registry.values() if not isinstance(page, ModelAdmin)]
    # Its actions write audit rows that do not reveal whose answers they are (benchmarks.review).
    assert others == [BenchmarkReviewAdmin]


def test_names_of_secret_fields_are_recognised() -> None:
    assert audit.is_secret(Account, "password")
    assert not audit.is_secret(FeatureFlag, "key")
