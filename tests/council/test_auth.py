"""Who can sign in on which page, with which account, and for how long."""

import threading
from collections.abc import Callable

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group
from django.db import IntegrityError, connections, transaction
from django.test import Client, RequestFactory

from council import auth, roles
from council.accounts.models import Account
from council.models import Admin, AdminRole, Member, SubscriptionStatus
from tests.databases import Database
from tests.factories import AccountFactory, AdminFactory, MemberFactory, hashed

pytestmark = [pytest.mark.django_db, pytest.mark.any_server]
PASSWORD = "correct horse"
WRONG_WORDS = "The email or the password is wrong."


@pytest.fixture
def mia(mia: Member) -> Member:
    mia.password_hash = hashed(PASSWORD)
    mia.save()
    return mia


@pytest.fixture
def ada(db: None) -> Admin:
    """Staff of the gateway."""
    return AdminFactory.create(email="Ada@Council.example", password_hash=hashed(PASSWORD))


def member_door(email: str = "mia@acme.example", password: str = PASSWORD) -> Account | None:
    account = authenticate(RequestFactory().post("/sign-in/"), email=email, password=password)
    assert account is None or isinstance(account, Account)
    return account


def staff_door(username: str = "ada@council.example", password: str = PASSWORD) -> Account | None:
    account = authenticate(RequestFactory().post("/admin/login/"), username=username, password=password)
    assert account is None or isinstance(account, Account)
    return account


def test_a_member_s_account_is_created_at_the_first_sign_in_and_found_at_the_next(mia: Member) -> None:
    account = member_door()
    assert account
    assert (account.member, account.admin, account.username) == (mia, None, mia.pk)
    assert (account.is_staff, account.is_superuser, account.has_usable_password()) == (False, False, False)
    assert member_door() == account


def test_a_member_signs_in_with_the_email_as_stored(mia: Member) -> None:
    assert member_door(email="Mia@acme.example") is None


@pytest.mark.parametrize("status", SubscriptionStatus)
def test_a_member_can_sign_in_with_any_standing(mia: Member, status: SubscriptionStatus) -> None:
    Member.objects.filter(pk=mia.pk).update(subscription_status=status)
    assert member_door()


def test_a_member_without_password_does_not_sign_in(lars: Member) -> None:
    for password in ("", "None", PASSWORD):
        assert member_door(email="lars@lapsed.example", password=password) is None


@pytest.mark.parametrize("name", ["", "\0", "\ud800", "x" * 1000, "mia@acme.example\0", "%", "' OR 1=1 --"])
@pytest.mark.parametrize("password", ["", "\0", "\ud800", "x" * 10_000, PASSWORD])
@pytest.mark.parametrize("door", [member_door, staff_door])
def test_nonsense_is_refused_without_an_error(
    door: Callable[[str, str], Account | None], name: str, password: str, mia: Member, ada: Admin
) -> None:
    AccountFactory.create(username="sam")
    assert door(name, password) is None


def test_an_inactive_account_does_not_sign_in(mia: Member, ada: Admin) -> None:
    assert member_door() and staff_door()
    Account.objects.update(is_active=False)
    assert member_door() is None
    assert staff_door() is None


def test_signing_in_writes_nothing_to_the_gateway_s_rows(mia: Member, ada: Admin) -> None:
    before = [*Member.objects.values(), *Admin.objects.values()]
    assert member_door() and staff_door()
    assert [*Member.objects.values(), *Admin.objects.values()] == before


def test_staff_sign_in_in_upper_or_lower_case(ada: Admin) -> None:
    account = staff_door(username="ADA@council.EXAMPLE")
    assert account
    assert (account.admin, account.member, account.username) == (ada, None, ada.pk)
    assert (account.is_staff, account.is_superuser, account.has_usable_password()) == (True, False, False)
    assert staff_door() == account


def test_two_staff_emails_that_differ_only_in_case_cannot_sign_in(ada: Admin) -> None:
    AdminFactory.create(email="ada@council.example", password_hash=hashed(PASSWORD))
    assert staff_door() is None
    assert staff_door(username="Ada@Council.example") is None


def test_the_page_decides_which_account_is_used(mia: Member) -> None:
    AdminFactory.create(email="mia@acme.example", password_hash=hashed("other horse"))
    as_member, as_staff = member_door(), staff_door("mia@acme.example", "other horse")
    assert as_member and as_staff
    assert as_member != as_staff
    assert (as_member.is_staff, as_staff.is_staff) == (False, True)
    assert member_door(password="other horse") is None
    assert staff_door("mia@acme.example", PASSWORD) is None


def test_members_and_staff_cannot_sign_in_on_each_other_s_page(mia: Member, ada: Admin) -> None:
    assert member_door(email="Ada@Council.example") is None
    assert staff_door(username="mia@acme.example") is None


def test_an_account_of_createsuperuser_signs_in_with_its_username(ada: Admin) -> None:
    sam = Account.objects.create_superuser("sam", "a horse of sam's")
    assert staff_door("sam", "a horse of sam's") == sam
    assert staff_door("sam", "another") is None
    assert staff_door("SAM", "a horse of sam's") is None


def test_a_password_in_the_account_of_a_member_or_admin_does_not_work(mia: Member, ada: Admin) -> None:
    for account in (member_door(), staff_door()):
        assert account
        account.set_password("own horse")
        account.save()
        assert staff_door(account.username, "own horse") is None


def test_a_member_s_account_cannot_be_made_staff(mia: Member) -> None:
    account = member_door()
    assert account
    for fields in ({"is_staff": True}, {"is_superuser": True}):
        with pytest.raises(IntegrityError, match="council_account_member_is_no_staff"), transaction.atomic():
            Account.objects.filter(pk=account.pk).update(**fields)


def test_a_used_username_neither_prevents_nor_allows_a_sign_in(mia: Member) -> None:
    taken = Account.objects.create_superuser(mia.pk, "a horse of sam's")
    account = member_door()
    assert account and account != taken
    assert account.member == mia


def test_a_recreated_admin_gets_a_new_account(ada: Admin) -> None:
    former = staff_door()
    ada_id = ada.pk
    ada.delete()
    assert staff_door() is None
    AdminFactory.create(id=ada_id, email="ada@council.example", password_hash=hashed(PASSWORD))
    account = staff_door()
    assert account and account != former


def permissions_of(account: Account | None) -> set[str]:
    assert account
    return Account.objects.get(pk=account.pk).get_all_permissions()


def test_the_role_decides_what_staff_may_do(ada: Admin) -> None:
    assert {"resources.change_resource", "council.view_member"} <= permissions_of(staff_door())
    assert not {"council.view_admin", "accounts.change_account"} & permissions_of(staff_door())
    Admin.objects.update(role=AdminRole.SUPER_ADMIN)
    assert {"council.view_admin", "council.change_featureflag"} <= permissions_of(staff_door())
    Admin.objects.update(role=AdminRole.ADMIN)
    account = staff_door()
    assert account
    assert not {"council.view_admin", "accounts.change_account"} & permissions_of(account)
    assert [group.name for group in account.groups.all()] == ["Admins"]


def test_a_sign_in_restores_groups_that_were_changed_by_hand(ada: Admin) -> None:
    account = staff_door()
    assert account
    before = permissions_of(account)
    Account.objects.update(is_superuser=True, is_staff=False)
    Group.objects.get(name="Admins").permissions.clear()
    account.groups.set([Group.objects.create(name="Curators"), Group.objects.create(name="Super admins")])
    account = staff_door()
    assert account
    assert (account.is_staff, account.is_superuser) == (True, False)
    assert set(account.groups.values_list("name", flat=True)) == {"Admins", "Curators"}
    assert permissions_of(account) == before


def test_an_unknown_role_gives_no_rights(ada: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(roles.GROUPS, AdminRole.ADMIN)
    assert staff_door() is None


def test_every_permission_of_a_role_exists() -> None:
    names = set().union(*roles.PERMISSIONS.values())
    known = {
        f"{permission.content_type.app_label}.{permission.codename}"
        for permission in roles._permissions(names)
    }
    assert names == known


@pytest.fixture
def mias_browser(mia: Member) -> Client:
    browser = Client()
    browser.post("/sign-in/", {"email": "mia@acme.example", "password": PASSWORD})
    assert browser.get("/membership/").status_code == 200
    return browser


@pytest.fixture
def adas_browser(ada: Admin) -> Client:
    browser = Client()
    browser.post("/admin/login/", {"username": "ada@council.example", "password": PASSWORD})
    assert browser.get("/admin/").status_code == 200
    return browser


MEMBER_CHANGES: dict[str, Callable[[], object]] = {
    "membership ended": lambda: Member.objects.update(subscription_status=SubscriptionStatus.CANCELLED),
    "payment missed": lambda: Member.objects.update(subscription_status=SubscriptionStatus.PAST_DUE),
    "password changed": lambda: Member.objects.update(password_hash=hashed("new horse")),
    "password taken away": lambda: Member.objects.update(password_hash=None),
    "row deleted": lambda: Member.objects.all().delete(),
    "account closed": lambda: Account.objects.update(is_active=False),
    "account deleted": lambda: Account.objects.all().delete(),
}
ADMIN_CHANGES: dict[str, Callable[[], object]] = {
    "promoted": lambda: Admin.objects.update(role=AdminRole.SUPER_ADMIN),
    "password changed": lambda: Admin.objects.update(password_hash=hashed("new horse")),
    "row deleted": lambda: Admin.objects.all().delete(),
    "account closed": lambda: Account.objects.update(is_active=False),
}


@pytest.mark.parametrize("change", MEMBER_CHANGES)
def test_a_member_s_session_ends_if_its_conditions_change(change: str, mias_browser: Client) -> None:
    MEMBER_CHANGES[change]()
    response = mias_browser.get("/membership/")
    assert (response.status_code, response.headers["Location"]) == (302, "/sign-in/?next=/membership/")


@pytest.mark.parametrize("change", ADMIN_CHANGES)
def test_a_staff_session_ends_if_its_conditions_change(change: str, adas_browser: Client) -> None:
    ADMIN_CHANGES[change]()
    assert adas_browser.get("/admin/").headers["Location"] == "/admin/login/?next=/admin/"


def test_other_changes_do_not_end_a_session(mias_browser: Client, mia: Member) -> None:
    Member.objects.update(
        email="new@acme.example", company="New", subscription_status=SubscriptionStatus.TRIALING
    )
    assert mias_browser.get("/membership/").status_code == 200


def test_a_session_survives_gaining_good_standing_and_ends_on_losing_it(
    mia: Member,
) -> None:
    Member.objects.update(subscription_status=SubscriptionStatus.PAST_DUE)
    browser = Client()
    browser.post("/sign-in/", {"email": "mia@acme.example", "password": PASSWORD})
    assert browser.get("/membership/").status_code == 200
    Member.objects.update(subscription_status=SubscriptionStatus.ACTIVE)
    assert browser.get("/membership/").status_code == 200
    Member.objects.update(subscription_status=SubscriptionStatus.PAST_DUE)
    assert browser.get("/membership/").status_code == 302


def test_a_session_outlives_a_new_secret_key_that_names_the_old_one(
    mias_browser: Client, settings: object
) -> None:
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]  # type: ignore[attr-defined]
    settings.SECRET_KEY = "another"  # type: ignore[attr-defined]
    assert mias_browser.get("/membership/").status_code == 200
    Member.objects.update(subscription_status=SubscriptionStatus.CANCELLED)
    assert mias_browser.get("/membership/").status_code == 302


def test_a_request_reads_the_session_and_the_account_with_its_person(
    mias_browser: Client, adas_browser: Client, django_assert_num_queries: Callable[[int], object]
) -> None:
    with django_assert_num_queries(2):  # type: ignore[attr-defined]
        mias_browser.get("/membership/")


def test_signing_in_changes_the_session_s_key(mia: Member) -> None:
    browser = Client()
    session = browser.session
    session["begun"] = True
    session.save()
    planted = browser.cookies["sessionid"].value
    browser.post("/sign-in/", {"email": "mia@acme.example", "password": PASSWORD})
    assert browser.cookies["sessionid"].value != planted
    assert Client(HTTP_COOKIE=f"sessionid={planted}").get("/membership/").status_code == 302


def test_two_first_sign_ins_at_once_make_one_account(migrated: Database) -> None:
    with migrated.as_django_connection() as connection:
        member = Member.objects.using("scratch").create(email="mia@acme.example")
        assert connection
        usual = connections["default"]
        accounts: list[int] = []
        start = threading.Barrier(4)

        def first_sign_in() -> None:
            connections["default"] = usual.copy("default")
            connections["default"].settings_dict["NAME"] = migrated.name
            start.wait()
            accounts.append(auth._account(member=Member.objects.get(pk=member.pk)).pk)
            connections["default"].close()

        threads = [threading.Thread(target=first_sign_in) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(accounts) == 4
    assert len(set(accounts)) == 1


def test_the_queries_of_a_first_sign_in_are_few(mia: Member, django_assert_max_num_queries: object) -> None:
    MemberFactory.create()
    with django_assert_max_num_queries(8):  # type: ignore[operator]
        assert member_door()
