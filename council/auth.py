"""Who may sign in at which door: members at /sign-in/, staff at Django's admin.

Each door asks its own backends, since each calls `authenticate` with arguments of its own. One person may be a
member and staff, by two accounts; the door decides which.
"""

from typing import Any

from django.contrib.auth import user_logged_in
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest

from council import passwords, roles
from council.accounts.models import Account
from council.models import Admin, AdminRole, Member
from council.postgres.fields import cuid

MAX_EMAIL_LENGTH = 320
STAFF_SESSION_SECONDS = 12 * 3600


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


class StaffBackend(_AccountBackend):
    """The gateway's staff, by email, in upper or lower case, and the password in `Admin`.

    Two rows whose emails differ in case only are told apart by nothing, so neither gets in.
    """

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None
    ) -> Account | None:
        if username is None or password is None:
            return None
        found = list(Admin.objects.filter(email__iexact=username)[:2]) if _can_be_stored(username) else []
        admin = found[0] if len(found) == 1 else None
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


class OwnPasswordBackend(_AccountBackend, ModelBackend):
    """Accounts made by `createsuperuser`, by username and a password of their own; and everybody's permissions.

    An account that belongs to a member or to an admin has no password of its own, whatever its column says.
    """

    def authenticate(  # type: ignore[override]
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None
    ) -> Account | None:
        if username is None or password is None:
            return None
        if not _can_be_stored(username) or not passwords.is_possible(password):
            username, password = "", ""  # which nobody has, and which takes as long to find out
        account = super().authenticate(request, username=username, password=password)
        return account if account and account.member_id is None and account.admin_id is None else None


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
    taken = Account.objects.filter(username=person_id).exists()
    return cuid() if taken else person_id


def _no_password() -> str:
    account = Account()
    account.set_unusable_password()
    return account.password


def _can_be_stored(text: str) -> bool:
    """Tell whether PostgreSQL takes the text at all, so that no sign-in ends in an error."""
    if "\0" in text or len(text) > MAX_EMAIL_LENGTH:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
