"""The accounts that sign in to this application: AUTH_USER_MODEL.

The accounts have their own app, so that its first migration creates the table. Django requires this of a custom user
model that other apps refer to.
"""

from collections.abc import Iterator

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.utils.crypto import salted_hmac

from council.models import Admin, Member
from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.indexes import Index


class AccountManager(BaseUserManager["Account"]):
    def create_user(self, username: str, password: str | None = None, **fields: bool) -> "Account":
        """Create an account with its own password. Without a password, it cannot sign in with one."""
        account: Account = self.model(username=self.model.normalize_username(username), **fields)
        account.set_password(password)
        account.save(using=self._db)
        return account

    def create_superuser(self, username: str, password: str | None = None) -> "Account":
        return self.create_user(username, password, is_staff=True, is_superuser=True)


class Account(AbstractBaseUser, PermissionsMixin):
    """An account that can sign in. It belongs to one Member, to one Admin, or to neither (`createsuperuser`).

    The password of a member or an admin is stored in their own row, which only the gateway writes.
    """

    username = models.CharField(max_length=150, unique=True)
    member = models.OneToOneField(
        Member,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="account",
        null=True,
        blank=True,
    )
    admin = models.OneToOneField(
        Admin,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="account",
        null=True,
        blank=True,
    )
    is_staff = models.BooleanField("staff status", default=False)
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    # Part of the session hash: increasing it ends all sessions of the account.
    session_generation = models.IntegerField(db_default=0, editable=False)
    # A gateway cookie that was issued before this time does not sign the member in again (council.auth).
    signed_out_at = models.DateTimeField(null=True, editable=False)
    # When the member's current visit to the home page began, and when the visit before it began (council.home).
    visited_at = models.DateTimeField(null=True, editable=False)
    visited_before_at = models.DateTimeField(null=True, editable=False)

    objects = AccountManager()

    USERNAME_FIELD = "username"

    class Meta:
        db_table = "council_account"  # the model once belonged to the app `council`
        constraints = [
            models.CheckConstraint(
                name="council_account_member_or_admin",
                condition=models.Q(member__isnull=True) | models.Q(admin__isnull=True),
                violation_error_message="An account belongs to a member or to an admin, not to both.",
            ),
            models.CheckConstraint(
                name="council_account_member_is_no_staff",
                condition=models.Q(member__isnull=True) | models.Q(is_staff=False, is_superuser=False),
                violation_error_message="A member's account is never staff. Staff have an account of their own.",
            ),
            # The row stays when the person is deleted, because Django's own tables refer to it.
            ForeignKeyConstraint(
                name="council_account_member_id_fkey",
                field="member",
                on_delete=Action.SET_NULL,
                on_update=Action.CASCADE,
            ),
            ForeignKeyConstraint(
                name="council_account_admin_id_fkey",
                field="admin",
                on_delete=Action.SET_NULL,
                on_update=Action.CASCADE,
            ),
        ]

    @property
    def staff_id(self) -> str:
        """The name for a member of staff in the gateway's columns: the id in `Admin`, or else the username."""
        return self.admin_id or self.username

    def get_short_name(self) -> str:
        return str(self.member or self.admin or self.username)

    def get_session_auth_hash(self) -> str:
        """Hash the facts that a session depends on. The session ends when one of them changes."""
        return self._session_hash(settings.SECRET_KEY, good_standing=self._is_in_good_standing)

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        """List the older hashes that are valid too: with older secret keys, or from before good standing.

        Only sessions.py reads them: Django itself would give the session a new key in each concurrent request.
        """
        for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS):
            for good_standing in {False, self._is_in_good_standing}:
                yield self._session_hash(secret, good_standing=good_standing)

    @property
    def _is_in_good_standing(self) -> bool:
        return self.member is not None and self.member.is_in_good_standing

    def _session_hash(self, secret: str | bytes, *, good_standing: bool) -> str:
        facts = [self.password, str(self.session_generation)] if self.session_generation else [self.password]
        if self.member:
            facts += ["member", self.member.pk, self.member.password_hash or "", str(good_standing)]
        if self.admin:
            facts += ["admin", self.admin.pk, self.admin.password_hash, self.admin.role]
        return salted_hmac(
            "council.Account.session", "\0".join(facts), secret=secret, algorithm="sha256"
        ).hexdigest()


class AccountSession(models.Model):
    """A session of an account, shown to its owner. It deliberately does not store the IP address."""

    session_key = models.CharField(max_length=40, primary_key=True)
    account = models.ForeignKey(
        Account,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="sessions",
    )
    browser = models.CharField(max_length=80)
    began_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "council_accountsession"
        constraints = [
            ForeignKeyConstraint(
                name="council_accountsession_account_id_fkey",
                field="account",
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
        ]
        indexes = [Index(name="council_accountsession_account_id_idx", fields=["account"])]

    def __str__(self) -> str:
        return f"{self.browser} since {self.began_at:%Y-%m-%d %H:%M}"
