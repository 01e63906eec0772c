"""The second factor of staff, and the list of an account's sessions."""

import re
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from council import auth, second_factor, sessions
from council.accounts.models import Account, AccountSession
from council.models import Admin, AdminRole, AuditLog, Member
from tests.factories import AdminFactory, MemberFactory, hashed

pytestmark = [pytest.mark.django_db, pytest.mark.any_server]
PASSWORD = "correct horse"
PAGE = "/admin/second-factor/"


@pytest.fixture
def _required(settings: Any) -> None:
    settings.STAFF_SECOND_FACTOR = True


@pytest.fixture
def ada(db: None) -> Admin:
    return AdminFactory.create(
        email="ada@council.example", password_hash=hashed(PASSWORD), role=AdminRole.SUPER_ADMIN
    )


def sign_in() -> Client:
    browser = Client()
    form = {"username": "ada@council.example", "password": PASSWORD, "next": "/admin/"}
    assert browser.post("/admin/login/", form).status_code == 302
    return browser


def code_of(device: TOTPDevice, *, steps: int = 0) -> str:
    """Compute the code that an app shows, this many half minutes from now."""
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift + steps)
    return f"{totp.token():06}"


def set_up(browser: Client) -> list[str]:
    """Set up the factor, and return the recovery codes."""
    browser.get(PAGE)
    TOTPDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    response = browser.post(PAGE, {"code": code_of(TOTPDevice.objects.get())})
    assert response.status_code == 200
    return re.findall(r"<code>([a-z2-9]{5}-[a-z2-9]{5})</code>", response.content.decode())


@pytest.mark.usefixtures("_required")
def test_staff_must_set_it_up_at_the_next_sign_in_before_any_page(ada: Admin) -> None:
    browser = sign_in()
    for address in ("/admin/", "/admin/council/member/", "/admin/password_change/"):
        response = browser.get(address, follow=True)
        assert response.redirect_chain[-1][0].startswith(PAGE)
        assert "Scan this code" in response.content.decode()
    assert "<svg" in browser.get(PAGE).content.decode()
    assert browser.post(PAGE, {"code": "000000"}).context["form"].errors
    codes = set_up(browser)
    assert len(set(codes)) == 10
    assert browser.get("/admin/").status_code == 200
    assert browser.get(PAGE).status_code == 302
    assert [row.action for row in AuditLog.objects.all()] == ["SECOND_FACTOR_SET_UP"]
    assert not any(
        code.replace("-", "") in str(StaticDevice.objects.get().token_set.values()) for code in codes
    )


@pytest.mark.usefixtures("_required")
def test_a_code_is_required_at_each_sign_in_and_accepted_once(ada: Admin) -> None:
    set_up(sign_in())
    browser, other = sign_in(), sign_in()
    assert browser.get("/admin/", follow=True).redirect_chain[-1][0].startswith(PAGE)
    TOTPDevice.objects.update(last_t=-1)
    code = code_of(TOTPDevice.objects.get())
    response = browser.post(PAGE, {"code": f"{code[:3]} {code[3:]}", "next": "/admin/council/member/"})
    assert response.headers["Location"] == "/admin/council/member/"
    assert browser.get("/admin/council/member/").status_code == 200
    assert other.post(PAGE, {"code": code}).status_code == 200
    assert other.get("/admin/").status_code == 302


@pytest.mark.usefixtures("_required")
def test_a_recovery_code_is_accepted_once_also_with_an_older_key(ada: Admin, settings: Any) -> None:
    codes = set_up(sign_in())
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
    assert sign_in().post(PAGE, {"code": codes[0].upper()}).status_code == 302
    assert sign_in().post(PAGE, {"code": codes[0]}).status_code == 200
    StaticDevice.objects.update(throttling_failure_count=0, throttling_failure_timestamp=None)
    assert sign_in().post(PAGE, {"code": codes[1].replace("-", "")}).status_code == 302
    assert AuditLog.objects.filter(action="RECOVERY_CODE_USED").count() == 2


@pytest.mark.usefixtures("_required")
def test_guesses_are_counted(ada: Admin) -> None:
    set_up(sign_in())
    browser = sign_in()
    answers = [browser.post(PAGE, {"code": f"{number:06}"}).status_code for number in range(7)]
    assert answers == [200] * 5 + [429] * 2


@pytest.mark.usefixtures("_required")
def test_a_super_admin_resets_it_and_sessions_end(ada: Admin) -> None:
    browser = sign_in()
    set_up(browser)
    account = Account.objects.get(admin=ada)
    boss = AdminFactory.create(
        email="boss@council.example", password_hash=hashed(PASSWORD), role="SUPER_ADMIN"
    )
    assert second_factor.reset(account=account, by=auth._account(admin=boss))
    entry = AuditLog.objects.get(action="SECOND_FACTOR_RESET")
    assert (entry.entity_id, entry.performed_by) == (str(account.pk), boss.pk)
    assert browser.get("/admin/").status_code == 302
    assert not second_factor.reset(account=account, by=account)


def test_a_super_admin_cannot_reset_a_superuser_s_second_factor(ada: Admin) -> None:
    sam = Account.objects.create_superuser("sam", "a horse of sam's")
    other = auth._account(admin=AdminFactory.create())
    for account in (sam, other):
        TOTPDevice.objects.create(user=account)
    form = {"action": "reset_second_factor", "_selected_action": [sam.pk, other.pk]}
    sign_in().post("/admin/accounts/account/", form)
    assert [device.user for device in TOTPDevice.objects.all()] == [sam]
    assert AuditLog.objects.get(action="SECOND_FACTOR_RESET").performed_by == ada.pk


@pytest.mark.usefixtures("_required")
def test_the_command_resets_it_without_another_super_admin(ada: Admin, mia: Member) -> None:
    browser = sign_in()
    set_up(browser)
    mia_s = auth._account(member=mia)
    output = StringIO()
    call_command("reset_second_factor", "ADA@council.example", stdout=output)
    assert "ADA@council.example must set up a new app at the next sign-in." in output.getvalue()
    entry = AuditLog.objects.get(action="SECOND_FACTOR_RESET")
    account = Account.objects.get(admin=ada)
    assert (entry.entity_id, entry.performed_by) == (str(account.pk), "reset_second_factor")
    assert browser.get("/admin/").status_code == 302
    assert "Scan this code" in sign_in().get(PAGE).content.decode()
    TOTPDevice.objects.all().delete()
    for name, words in {
        account.username: "has no second factor yet",
        "nobody": "No staff accounts are named nobody",
        mia_s.username: "No staff accounts",
    }.items():
        with pytest.raises(CommandError, match=words):
            call_command("reset_second_factor", name)
    assert AuditLog.objects.filter(action="SECOND_FACTOR_RESET").count() == 1


def test_no_page_shows_a_key(sams_browser: Client) -> None:
    for address in ("/admin/otp_totp/totpdevice/", "/admin/otp_static/staticdevice/"):
        assert sams_browser.get(address).status_code == 404


def member_browser(user_agent: str) -> Client:
    browser = Client(HTTP_USER_AGENT=user_agent)
    assert browser.post("/sign-in/", {"email": "mia@acme.example", "password": PASSWORD}).status_code == 302
    return browser


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def mia(db: None) -> Member:
    return MemberFactory.create(email="mia@acme.example", password_hash=hashed(PASSWORD))


def test_a_member_sees_their_sessions_and_ends_them_all(mia: Member) -> None:
    here, there = member_browser(FIREFOX), member_browser("<script>" * 100)
    html = here.get("/sessions/").content.decode()
    assert re.findall(r"<li>([^<,]+), since .*?</time>( \(here\))?", html) == [
        ("A browser on a device", ""),
        ("Firefox on Linux", " (here)"),
    ]
    assert here.post("/sessions/").headers["Location"] == "/sign-in/"
    for browser in (here, there):
        assert browser.get("/sessions/").status_code == 302
    assert not AccountSession.objects.exists()


def test_a_session_without_a_record_ends_too(mia: Member) -> None:
    unknown, here = member_browser(FIREFOX), member_browser(FIREFOX)
    AccountSession.objects.filter(session_key=unknown.cookies["sessionid"].value).delete()
    here.post("/sessions/")
    assert unknown.get("/membership/").status_code == 302


def test_sessions_of_other_accounts_stay(mia: Member, ada: Admin) -> None:
    staff = sign_in()
    member_browser(FIREFOX).post("/sessions/")
    assert staff.get("/admin/sessions/").status_code == 200
    assert staff.post("/admin/sessions/").status_code == 302
    assert staff.get("/admin/").status_code == 302


def test_only_the_browser_and_its_system_are_shown() -> None:
    names: dict[str, str] = {
        FIREFOX: "Firefox on Linux",
        "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0": "Edge on Windows",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18) AppleWebKit/605 Version/18 Safari/604": "Safari on an iPhone",
        "": "A browser on a device",
    }
    assert {given: sessions.describe(given) for given in names} == names
