"""The site's pages in a real browser."""

from collections.abc import Callable

import pytest
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from tests.browser import Visitor, serving
from tests.databases import Database
from tests.factories import AccountFactory, AdminFactory, MemberFactory, hashed

pytestmark = pytest.mark.any_server

NewVisitor = Callable[..., Visitor]


def test_a_member_signs_in_and_out_by_keyboard(visitor: Visitor) -> None:
    member = MemberFactory.create(password_hash=hashed("correct horse"), company="Acme")
    visitor.open("/membership/")
    visitor.inspect("sign-in")
    keyboard = visitor.page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(20):
            if visitor.focused() == name:
                return
            keyboard.press("Tab")
        raise AssertionError(f"{name} cannot be reached")

    keyboard.press("Tab")
    assert visitor.focused() == "Skip to the content"
    tab_to("Email")
    keyboard.type(str(member.email))
    keyboard.press("Tab")
    keyboard.type("wrong")
    keyboard.press("Enter")
    visitor.page.get_by_role("alert").wait_for()
    assert visitor.page.title().startswith("Error: ")
    visitor.inspect("sign-in-wrong")
    tab_to("Password")
    keyboard.type("correct horse")
    keyboard.press("Enter")
    visitor.page.wait_for_url("**/membership/")
    visitor.inspect("membership")
    tab_to("Sign out")
    keyboard.press("Enter")
    visitor.page.get_by_text("You are signed out.").wait_for()
    visitor.inspect("signed-out")


def test_a_member_without_good_standing_and_faults(new_visitor: NewVisitor) -> None:
    lapsed = new_visitor()
    lapsed.sign_in(
        MemberFactory.create(
            email="somebody.with.a.very.long.name.indeed@a-company-with-a-long-name.example",
            first_name="Maximiliane-Theodora",
            last_name="Featherstonehaugh-Cholmondeley",
            company="A Company With A Rather Long Name & Partners Holding",
            subscription_status="PAST_DUE",
            current_period_end="2026-05-01T00:00Z",
            total_points=1234,
        )
    )
    lapsed.open("/membership/")
    lapsed.inspect("membership-lapsed")
    lapsed.open("/")
    lapsed.inspect("home-lapsed")
    assert lapsed.open("/nowhere/").status == 404
    lapsed.inspect("fault-404")
    lapsed.expect_complaints("404 (Not Found)")

    staff = new_visitor()
    staff.sign_in(AccountFactory.create(is_staff=True))
    assert staff.open("/membership/").status == 403
    staff.inspect("fault-403")
    staff.expect_complaints("403 (Forbidden)")


def test_sign_in_is_blocked_after_five_failures(visitor: Visitor) -> None:
    visitor.open("/sign-in/")
    for _ in range(6):
        visitor.page.get_by_label("Email").fill("guessed@example.com")
        visitor.page.get_by_label("Password").fill("guess")
        visitor.page.get_by_role("button", name="Sign in").click()
    visitor.page.get_by_role("heading", name="Too many failed attempts").wait_for()
    visitor.inspect("fault-429")
    visitor.expect_complaints("429 (Too Many Requests)")


def test_django_s_admin_works_under_the_policy(visitor: Visitor) -> None:
    AdminFactory.create(
        email="ada@council.example", password_hash=hashed("correct horse"), role="SUPER_ADMIN"
    )
    MemberFactory.create(first_name="Olga", last_name="Orlov")
    page = visitor.page
    visitor.open("/admin/")
    page.get_by_label("Email or username").fill("ADA@council.example")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("The email or the password is wrong.").wait_for()
    visitor.picture("admin-sign-in-wrong")
    page.get_by_label("Password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    page.get_by_text("Welcome").wait_for()
    visitor.picture("admin")

    visitor.open("/admin/council/member/?q=Orlov")
    page.get_by_role("link", name="Active", exact=True).first.click()
    page.get_by_label("Select all").check()
    visitor.picture("admin-members")
    page.get_by_role("link", name="Olga Orlov").click()

    page.locator(".field-current_period_end .readonly").wait_for()  # the gateway's
    visitor.picture("admin-member")
    visitor.open("/admin/council/featureflag/add/")
    page.get_by_label("Key").fill("beta")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("was added successfully").wait_for()
    visitor.open("/admin/accounts/account/")
    visitor.picture("admin-accounts")


def test_the_list_of_sessions(new_visitor: NewVisitor) -> None:
    member = new_visitor()
    member.sign_in(MemberFactory.create())
    member.open("/sessions/")
    member.inspect("sessions")
    staff = new_visitor()
    staff.sign_in(AccountFactory.create(is_staff=True, is_superuser=True))
    staff.open("/admin/sessions/")
    staff.inspect("staff-sessions")


def test_the_second_factor(new_visitor: NewVisitor, served_database: Database) -> None:
    """Set it up, with a wrong code first, see the recovery codes, and enter a code at the next sign-in."""
    visitor = new_visitor()
    with serving(served_database) as visitor.address:
        set_up_second_factor(visitor)


def set_up_second_factor(visitor: Visitor) -> None:
    account = AccountFactory.create(is_staff=True, is_superuser=True)
    visitor.sign_in(account)
    visitor.open("/admin/")
    visitor.inspect("second-factor-begun")
    visitor.page.get_by_label("Code").fill("000000")
    visitor.page.get_by_role("button", name="Continue").click()
    visitor.inspect("second-factor-wrong")
    device = TOTPDevice.objects.get(user=account)
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    code = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift).token()
    visitor.page.get_by_label("Code").fill(f"{code:06}")
    visitor.page.get_by_role("button", name="Continue").click()
    visitor.page.get_by_text("The second factor is set up.").wait_for()
    visitor.inspect("second-factor-codes")
    visitor.context.clear_cookies()
    visitor.sign_in(account)
    visitor.open("/admin/")
    visitor.inspect("second-factor-asked-for")
