"""The admin pages for accounts: what superusers and super admins may do, and what is never shown."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from council import roles
from council.accounts.models import Account
from council.models import Admin, AdminRole, Member
from tests.council.test_admin import ROWS, SECRET, every_model, page
from tests.factories import AccountFactory

pytestmark = pytest.mark.any_server

FillIn = Callable[..., dict[str, Any]]


def test_accounts_are_filtered_by_group(sams_browser: Client) -> None:
    member_of_group, _ = AccountFactory.create(), AccountFactory.create()
    group = Group.objects.create(name="Curators")
    member_of_group.groups.add(group)
    response = sams_browser.get(page(Account, "changelist", groups__id__exact=str(group.pk)))
    assert list(response.context["cl"].result_list) == [member_of_group]


def test_a_superuser_adds_an_account_with_rights_and_a_password(
    sams_browser: Client, fill_in: FillIn
) -> None:
    password = {"password1": "correct horse battery", "password2": "correct horse battery"}
    new = sams_browser.get(page(Account, "add"))
    form = fill_in(new, username="mia", usable_password="true", **password)
    assert sams_browser.post(page(Account, "add"), form).status_code == 302
    account = Account.objects.get(username="mia")
    assert account.check_password("correct horse battery")

    address = page(Account, "change", account.pk)
    change = sams_browser.get(address)
    assert account.password not in change.content.decode()
    staff = Permission.objects.get(content_type__app_label="council", codename="view_member")
    form = fill_in(change, is_staff="on", user_permissions=[staff.pk])
    assert sams_browser.post(address, form).status_code == 302
    account.refresh_from_db()
    assert account.is_staff
    assert account.has_perm("council.view_member")
    assert account.check_password("correct horse battery")

    address = reverse("admin:auth_user_password_change", args=[account.pk])
    form = fill_in(
        sams_browser.get(address),
        usable_password="true",
        password1="another horse 1",
        password2="another horse 1",
    )
    assert sams_browser.post(address, form).status_code == 302
    account.refresh_from_db()
    assert account.check_password("another horse 1")


def test_an_account_cannot_belong_to_a_member_and_to_an_admin(
    sams_browser: Client, fill_in: FillIn, mia: Member
) -> None:
    account = AccountFactory.create(member=mia)
    boss = Admin.objects.create(email="boss@council.example", password_hash=SECRET)
    address = page(Account, "change", account.pk)
    response = sams_browser.post(address, fill_in(sams_browser.get(address), admin=boss.pk))
    assert "An account belongs to a member or to an admin, not to both." in response.content.decode()


@pytest.fixture
def ada(db: None) -> Account:
    """The account of a super admin of the gateway, as after a sign-in."""
    account = AccountFactory.create(
        username="ada", admin=Admin.objects.create(email="ada@council.example", password_hash=SECRET)
    )
    roles.assign(account, AdminRole.SUPER_ADMIN)
    return account


@pytest.fixture
def adas_browser(ada: Account) -> Client:
    browser = Client()
    browser.force_login(ada)
    return browser


def test_a_super_admin_closes_an_account(adas_browser: Client, fill_in: FillIn, mia: Member) -> None:
    account = AccountFactory.create(member=mia)
    address = page(Account, "change", account.pk)
    form = fill_in(adas_browser.get(address))
    form.pop("is_active")
    assert adas_browser.post(address, form).status_code == 302
    account.refresh_from_db()
    assert not account.is_active


@pytest.mark.parametrize("whose", ["ada", "nora"])
def test_a_super_admin_cannot_give_rights(
    whose: str, adas_browser: Client, fill_in: FillIn, ada: Account, nora: Account, sam: Account, mia: Member
) -> None:
    account = Account.objects.get(username=whose)
    group = Group.objects.create(name="Anything goes")
    before = Account.objects.values().get(pk=account.pk)
    groups_before = list(account.groups.all())
    address = page(Account, "change", account.pk)
    form = fill_in(
        adas_browser.get(address),
        username="boss",
        password="x",
        member=mia.pk,
        admin=ada.admin_id,
        is_active="on",
        is_staff="on",
        is_superuser="on",
        groups=[group.pk],
        user_permissions=list(Permission.objects.values_list("pk", flat=True)),
    )
    assert adas_browser.post(address, form).status_code == 302
    assert Account.objects.values().get(pk=account.pk) == before
    assert list(account.groups.all()) == groups_before
    assert not account.user_permissions.exists()


def test_a_super_admin_cannot_add_accounts_or_set_passwords(
    adas_browser: Client, fill_in: FillIn, nora: Account, sam: Account
) -> None:
    assert adas_browser.get(page(Account, "add")).status_code == 403
    form = {"username": "eve", "password1": "another horse 1", "password2": "another horse 1"}
    assert adas_browser.post(page(Account, "add"), form).status_code == 403
    for account in (nora, sam):
        address = reverse("admin:auth_user_password_change", args=[account.pk])
        assert adas_browser.get(address).status_code == 403
        assert adas_browser.post(address, form | {"usable_password": "true"}).status_code == 403
    assert not Account.objects.filter(username="eve").exists()
    assert adas_browser.get(reverse("admin:auth_user_password_change", args=[999])).status_code == 403


def test_a_super_admin_can_only_view_a_superuser_s_account_without_the_hash(
    adas_browser: Client, sam: Account, nora: Account
) -> None:
    sam.set_password("a horse of sam's")
    sam.save()
    response = adas_browser.get(page(Account, "change", sam.pk))
    assert response.status_code == 200
    assert sam.password not in response.content.decode()
    assert "algorithm" not in response.content.decode()
    assert adas_browser.post(page(Account, "change", sam.pk), {}).status_code == 403
    sam.refresh_from_db()
    assert sam.is_active


def test_a_super_admin_has_no_page_for_groups(adas_browser: Client) -> None:
    assert adas_browser.get("/admin/auth/group/").status_code == 403


def test_a_superuser_cannot_set_the_password_of_a_member_or_an_admin(
    sams_browser: Client, ada: Account, mia: Member
) -> None:
    for account in (ada, AccountFactory.create(member=mia)):
        response = sams_browser.get(reverse("admin:auth_user_password_change", args=[account.pk]))
        assert response.status_code == 403
        assert "The gateway stores the passwords of members and admins." in response.content.decode()


def test_a_superuser_cannot_make_a_member_s_account_staff(
    sams_browser: Client, fill_in: FillIn, mia: Member
) -> None:
    account = AccountFactory.create(member=mia)
    address = page(Account, "change", account.pk)
    for right in ("is_staff", "is_superuser"):
        response = sams_browser.post(address, fill_in(sams_browser.get(address), **{right: "on"}))
        assert "A member&#x27;s account is never staff." in response.content.decode()


@pytest.mark.parametrize("role", AdminRole)
@every_model
def test_each_role_sees_the_pages_of_its_permissions(
    model: type[Any], role: AdminRole, ada: Account, adas_browser: Client
) -> None:
    roles.assign(ada, role)
    row = ROWS[model]()
    name = f"{model._meta.app_label}.view_{model._meta.model_name}"
    status = 200 if name in roles.PERMISSIONS[role] else 403
    assert adas_browser.get(page(model, "changelist")).status_code == status
    assert adas_browser.get(page(model, "change", row.pk)).status_code == status
