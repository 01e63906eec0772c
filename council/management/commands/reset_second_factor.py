"""`manage.py reset_second_factor`: take a second factor away where no super admin is left to do it."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from council import second_factor
from council.accounts.models import Account


class Command(BaseCommand):
    help = (
        "Have an account of staff set up another authenticator app at the next sign-in, and end its sessions. "
        "For when the last super admin has lost the app and the recovery codes; otherwise the list of accounts does it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the email that the account signs in with, or its user name")

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        found = list(Account.objects.filter(Q(admin__email__iexact=name) | Q(username=name), is_staff=True))
        if len(found) != 1:
            raise CommandError(
                f"{len(found) or 'No'} accounts of staff are named {name}. Give the email that the account signs in "
                f"with, or its user name, as the list of accounts has it. Nothing was changed."
            )
        [account] = found
        if not second_factor.reset(account=account, by=None):
            raise CommandError(f"{name} has no second factor yet. Nothing was changed.")
        self.stdout.write(f"{name} sets up another app at the next sign-in. The audit log says so.")
