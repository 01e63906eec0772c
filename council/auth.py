"""Who may sign in on which page: members on /sign-in/, staff in Django's admin.

Each page reaches its own backend, because each calls `authenticate` with different arguments. A person who is both a
member and staff has two accounts; the page decides which one is used.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import login, user_logged_in, user_logged_out
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.db import connection, transaction
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse

from council import passwords, requests, roles, sessions
from council.accounts.models import Account
from council.gateway import cookie
from council.models import Admin, AdminRole, Member
from council.postgres.fields import cuid

MAX_EMAIL_LENGTH = 320
MAX_USERNAME_LENGTH = 150
STAFF_SESSION_SECONDS = 12 * 3600
# A sign-out still takes effect if the gateway's clock is ahead of ours by up to this many seconds.
CLOCKS_DIFFER_SECONDS = 300


class _AccountBackend(BaseBackend):
    def get_user(self, user_id: int) -> Account | None:
        """Read the account with its member or admin in one query. Returns None if it is inactive."""
        account = Account.objects.select_related("member", "admin").filter(pk=user_id).first()
        return account if account and account.is_active else None


class MemberBackend(_AccountBackend):
    """Sign in members, in good standing or not, with the email exactly as stored and the password in `Member`."""

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, *, email: str, password: str
    ) -> Account | None:
        member = Member.objects.filter(email=email).first() if _can_be_stored(email) else None
        stored = member.password_hash if member else None
        if not passwords.is_correct(password, stored=stored) or member is None:
            return None
        account = _account(member=member)
        # A member's account is never staff, even if somebody changed it so in the database.
        return account if account.is_active and not account.is_staff and not account.is_superuser else None


class StaffBackend(_AccountBackend, ModelBackend):
    """Sign in staff: accounts made with `createsuperuser` by username, the gateway's staff by email in any case.

    Both tables are searched before one password is checked, so every attempt costs one hash, whatever the name. An
    account made with `createsuperuser` comes first. If two rows of `Admin` have emails that differ only in case,
    neither can sign in. An account of a member or an admin has no password of its own, whatever its column holds.

    This backend also reads the permissions of every account.
    """

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None
    ) -> Account | None:
        if username is None or password is None:
            return None
        own = admin = None
        if _can_be_stored(username):
            own = Account.objects.filter(username=username, member=None, admin=None).first()
            own = own if own and own.has_usable_password() else None
            # Django's iexact compares with upper() in the database, as `counted_as` does.
            admins = list(Admin.objects.filter(email__iexact=username)[:2])
            admin = admins[0] if len(admins) == 1 and own is None else None
        if own:
            return own if _is_own_password(own, password) and own.is_active else None
        stored = admin.password_hash if admin else None
        if not passwords.is_correct(password, stored=stored) or admin is None:
            return None
        if admin.role not in roles.GROUPS:
            return None
        with transaction.atomic():
            account = _account(admin=admin)
            if account.is_active:
                roles.assign(account, AdminRole(admin.role))
        return account if account.is_active else None


class SignedInAtGateway:
    """Sign members in on their pages while the gateway's cookie says that they are signed in there.

    The cookie is used only if nobody is signed in here, and never signs in staff. A member who signed out here stays
    signed out until the gateway issues a newer cookie.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Not for POST: a form's CSRF token belongs to the session in which the form was shown.
        is_asked = request.method in {"GET", "HEAD"} and not request.path.startswith("/admin/")
        ticket = cookie.read(request) if is_asked else None
        if ticket and not request.user.is_authenticated and (account := _account_by(ticket)):
            login(request, account, backend=f"{MemberBackend.__module__}.{MemberBackend.__qualname__}")
            request.session[sessions.BY_GATEWAY] = True
        return self.get_response(request)


def _account_by(ticket: cookie.Ticket) -> Account | None:
    """Find the account that a cookie signs in. Returns None if it may not sign in."""
    member = Member.objects.filter(pk=ticket.member_id).first() if _can_be_stored(ticket.member_id) else None
    account = _account(member=member) if member else None
    if account is None or not account.is_active or account.is_staff or account.is_superuser:
        return None
    is_newer = account.signed_out_at is None or ticket.issued_at > account.signed_out_at
    return account if is_newer else None


@receiver(user_logged_out)
def hold_sign_out(request: HttpRequest, user: Account | None, **kwargs: Any) -> None:
    """Keep a member signed out although the gateway's cookie is still there, even if the gateway's clock is ahead."""
    if user and user.member_id:
        ticket = cookie.read(request, leeway_seconds=CLOCKS_DIFFER_SECONDS)
        signed_out_at = datetime.now(UTC)
        if ticket and ticket.member_id == user.member_id:
            signed_out_at = max(signed_out_at, ticket.issued_at)
        Account.objects.filter(pk=user.pk).update(signed_out_at=signed_out_at)


def counted_as(username: str) -> str:
    """Return a staff name in the spelling under which the throttle counts it: PostgreSQL's upper().

    The look-up uses upper() too. Python's casefold() differs from it, and would give one account several counts.
    """
    if not _can_be_stored(username):
        return username  # no account can have this name
    with connection.cursor() as cursor:
        cursor.execute("SELECT upper(%s::text)", [username])
        [(spelling,)] = cursor.fetchall()
    return str(spelling)


def _is_own_password(account: Account, password: str) -> bool:
    if not passwords.is_possible(password):
        password = ""  # nobody has this password, and checking it takes as long as any other
    if account.password.startswith(f"{passwords.DJANGO_PREFIX}$argon2id$"):
        return passwords.is_correct(password, stored=account.password.removeprefix(passwords.DJANGO_PREFIX))
    # An older hasher made this hash. If the password is right, Django replaces the hash.
    return account.check_password(password)


@receiver(user_logged_in)
def shorten_staff_session(request: HttpRequest, user: Account, **kwargs: Any) -> None:
    """End the sessions of staff after 12 hours. Members' sessions last SESSION_COOKIE_AGE."""
    if user.is_staff:
        request.session.set_expiry(STAFF_SESSION_SECONDS)


def _account(**person: Member | Admin) -> Account:
    """Find or create the account of a member or an admin. Concurrent first sign-ins create only one."""
    [row] = person.values()
    account, _ = Account.objects.select_related("member", "admin").get_or_create(
        **person, defaults={"username": _free_username(row.pk), "password": _no_password()}
    )
    return account


def _free_username(person_id: str) -> str:
    """Use the person's id as the username, so that the audit log still names them after their row is deleted."""
    taken = len(person_id) > MAX_USERNAME_LENGTH or Account.objects.filter(username=person_id).exists()
    return cuid() if taken else person_id


def _no_password() -> str:
    account = Account()
    account.set_unusable_password()
    return account.password


def _can_be_stored(text: str) -> bool:
    """Tell whether PostgreSQL can store the text. If not, the sign-in must fail without an error."""
    return len(text) <= MAX_EMAIL_LENGTH and requests.is_text(text)
