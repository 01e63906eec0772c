"""Who may sign in at which door: members at /sign-in/, staff at Django's admin.

Each door asks its own backends, since each calls `authenticate` with arguments of its own. One person may be a
member and staff, by two accounts; the door decides which.
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
# How far the gateway's clock may be ahead of ours for a sign-out to hold.
CLOCKS_DIFFER_SECONDS = 300


class _AccountBackend(BaseBackend):
    def get_user(self, user_id: int) -> Account | None:
        """Read who is signed in, with the row that they are signed in by, in one query."""
        account = Account.objects.select_related("member", "admin").filter(pk=user_id).first()
        return account if account and account.is_active else None


class MemberBackend(_AccountBackend):
    """Members, by the email as stored and the password in `Member`. In good standing or not."""

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, *, email: str, password: str
    ) -> Account | None:
        member = Member.objects.filter(email=email).first() if _can_be_stored(email) else None
        stored = member.password_hash if member else None
        if not passwords.is_correct(password, stored=stored) or member is None:
            return None
        account = _account(member=member)
        # Nothing makes a member's account staff, not even somebody at the database.
        return account if account.is_active and not account.is_staff and not account.is_superuser else None


class StaffBackend(_AccountBackend, ModelBackend):
    """Staff: accounts of `createsuperuser` by username, the gateway's by email, in upper or lower case.

    The name is looked for in both tables before the one password that it leads to is looked at: so an attempt costs one
    hash, whoever it names. An account of `createsuperuser` comes first. Two rows of `Admin` whose emails differ in case
    only are told apart by nothing, so neither gets in. An account that belongs to a member or to an admin has no
    password of its own, whatever its column says.

    Everybody's permissions are read by this backend, too.
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
            # By upper(), in the database: `counted_as` counts by the same.
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
    """Sign in who is signed in at the gateway, at the member's pages, and for as long as the gateway's cookie says so.

    The cookie counts where nobody is signed in, and never for staff: its member gets a member's account. Whoever signed
    out here stays signed out, until the gateway issues a newer cookie.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Of a form, the token was made for whoever was signed in when it was shown.
        is_asked = request.method in {"GET", "HEAD"} and not request.path.startswith("/admin/")
        ticket = cookie.read(request) if is_asked else None
        if ticket and not request.user.is_authenticated and (account := _account_by(ticket)):
            login(request, account, backend=f"{MemberBackend.__module__}.{MemberBackend.__qualname__}")
            request.session[sessions.BY_GATEWAY] = True
        return self.get_response(request)


def _account_by(ticket: cookie.Ticket) -> Account | None:
    """Find the account that a cookie signs in."""
    member = Member.objects.filter(pk=ticket.member_id).first() if _can_be_stored(ticket.member_id) else None
    account = _account(member=member) if member else None
    if account is None or not account.is_active or account.is_staff or account.is_superuser:
        return None
    is_newer = account.signed_out_at is None or ticket.issued_at > account.signed_out_at
    return account if is_newer else None


@receiver(user_logged_out)
def hold_sign_out(request: HttpRequest, user: Account | None, **kwargs: Any) -> None:
    """Have a sign-out hold although the gateway's cookie is still there, whichever of the two clocks is ahead."""
    if user and user.member_id:
        ticket = cookie.read(request, leeway_seconds=CLOCKS_DIFFER_SECONDS)
        moment = datetime.now(UTC)
        if ticket and ticket.member_id == user.member_id:
            moment = max(moment, ticket.issued_at)
        Account.objects.filter(pk=user.pk).update(signed_out_at=moment)


def counted_as(username: str) -> str:
    """Spell what is entered at the staff door as it is looked for, by the database's own rule: the throttle counts it.

    Python's casefold() and PostgreSQL's upper() differ, so that one account had several names to be guessed at by.
    """
    if not _can_be_stored(username):
        return username  # nobody is found by it
    with connection.cursor() as cursor:
        cursor.execute("SELECT upper(%s::text)", [username])
        [(spelling,)] = cursor.fetchall()
    return str(spelling)


def _is_own_password(account: Account, password: str) -> bool:
    if not passwords.is_possible(password):
        password = ""  # which nobody has, and which takes as long to find out
    if account.password.startswith(f"{passwords.DJANGO_PREFIX}$argon2id$"):
        return passwords.is_correct(password, stored=account.password.removeprefix(passwords.DJANGO_PREFIX))
    # Hashed by an older hasher; the right password is hashed anew.
    return account.check_password(password)


@receiver(user_logged_in)
def shorten_staff_session(request: HttpRequest, user: Account, **kwargs: Any) -> None:
    """Have staff sign in once a working day; members' sessions last SESSION_COOKIE_AGE."""
    if user.is_staff:
        request.session.set_expiry(STAFF_SESSION_SECONDS)


def _account(**person: Member | Admin) -> Account:
    """Find the account of a member or of an admin, or make it. Two first sign-ins at once make one."""
    [row] = person.values()
    account, _ = Account.objects.select_related("member", "admin").get_or_create(
        **person, defaults={"username": _free_username(row.pk), "password": _no_password()}
    )
    return account


def _free_username(person_id: str) -> str:
    """Use the person's id, which then still stands for them in the log when they are gone."""
    taken = len(person_id) > MAX_USERNAME_LENGTH or Account.objects.filter(username=person_id).exists()
    return cuid() if taken else person_id


def _no_password() -> str:
    account = Account()
    account.set_unusable_password()
    return account.password


def _can_be_stored(text: str) -> bool:
    """Tell whether PostgreSQL takes the text at all, so that no sign-in ends in an error."""
    return len(text) <= MAX_EMAIL_LENGTH and requests.is_text(text)
