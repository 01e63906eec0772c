"""`manage.py reset_second_factor`: remove a second factor if no super admin can do it in the admin."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from council import second_factor
from council.accounts.models import Account


class Command(BaseCommand):
    help = (
        "Make a staff account set up a new authenticator app at the next sign-in, and end its sessions. Use it if the "
        "last super admin has lost the app and the recovery codes. Otherwise, use the admin's list of accounts."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the email with which the account signs in, or its username")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        found = list(Account.objects.filter(Q(admin__email__iexact=name) | Q(username=name), is_staff=True))
        if len(found) != 1:
            raise CommandError(
                f"{len(found) or 'No'} staff accounts are named {name}. Give the email or the username of the account, "
                f"as the admin's list of accounts shows it. Nothing was changed."
            )
        [account] = found
        if not second_factor.reset(account=account, by=None):
            raise CommandError(f"{name} has no second factor yet. Nothing was changed.")
        self.stdout.write(f"{name} must set up a new app at the next sign-in. The audit log records this.")
