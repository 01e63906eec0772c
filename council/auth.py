"""Who may sign in at which door: members at /sign-in/, staff at Django's admin.

Each door asks its own backends, since each calls `authenticate` with arguments of its own. One person may be a
member and staff, by two accounts; the door decides which.
"""

from typing import Any

from django.contrib.auth import user_logged_in
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.db import connection, transaction
from django.dispatch import receiver
from django.http import HttpRequest

from council import passwords, requests, roles
from council.accounts.models import Account
from council.models import Admin, AdminRole, Member
from council.postgres.fields import cuid

MAX_EMAIL_LENGTH = 320
MAX_USERNAME_LENGTH = 150
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
