"""The accounts that sign in to this application: AUTH_USER_MODEL.

They are an app of their own, so that other apps may refer to them as Django's documentation says: the first migration
of this app makes the table.
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
        """Make an account that signs in with a password of its own. None: it cannot sign in by password."""
        account: Account = self.model(username=self.model.normalize_username(username), **fields)
        account.set_password(password)
        account.save(using=self._db)
        return account

    def create_superuser(self, username: str, password: str | None = None) -> "Account":
        return self.create_user(username, password, is_staff=True, is_superuser=True)


class Account(AbstractBaseUser, PermissionsMixin):
    """Who is signed in: one Member, or one Admin, or neither (made with `createsuperuser`).

    The password of a member or of staff is the one in their own row, which only the gateway writes.
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
    # Part of what sessions are signed with: one more ends them all.
    session_generation = models.IntegerField(db_default=0, editable=False)
    # The gateway's cookie signs nobody in who signed out since it was issued (council.auth).
    signed_out_at = models.DateTimeField(null=True, editable=False)
    # When the member's visit to the home page began, and the one before it (council.home).
    visited_at = models.DateTimeField(null=True, editable=False)
    visited_before_at = models.DateTimeField(null=True, editable=False)

    objects = AccountManager()

    USERNAME_FIELD = "username"

    class Meta:
        db_table = "council_account"  # from when the model belonged to the app `council`
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
            # The row outlives the person: other tables of Django's point at it.
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
        """What stands for a member of staff in the gateway's columns: the id in `Admin`, or else the username."""
        return self.admin_id or self.username

    def get_short_name(self) -> str:
        return str(self.member or self.admin or self.username)

    def get_session_auth_hash(self) -> str:
        """Sum up what a session is good for: it ends when any of this changes."""
        return self._session_hash(settings.SECRET_KEY, good_standing=self._is_in_good_standing)

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        """Say which older sums hold as well: under older keys, and from before the member was in good standing.

        sessions.py reads them. Django's own reading would give a session a new key in each request that runs at once.
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
    """A session of an account, for its owner to see where they are signed in. Without the address, by choice."""

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
