"""`manage.py reconcile_points`: compare the members' figures with the ledger, and repair them."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connection

from council.zero_downtime import failures
from gamification import reconciliation


class Command(BaseCommand):
    help = (
        "Compare every member's points, month, streak and last activity with the ledger. "
        "Exits with status 1 if they differ, unless they are repaired."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--repair", action="store_true", help="Set members' figures to the ledger's.")

    def handle(self, *args: Any, repair: bool, **options: Any) -> None:
        found: set[str] = set()
        with failures.as_command_errors(connection, command="reconcile_points"):
            for difference in reconciliation.repair() if repair else reconciliation.differences():
                found.add(difference.member_id)
                self.stdout.write(str(difference))
        members = "1 member" if len(found) == 1 else f"{len(found)} members"
        if not found:
            self.stdout.write("Every member's figures match the ledger.")
        elif repair:
            self.stdout.write(f"Repaired {members}. The audit log lists the changes.")
        else:
            self.stdout.write(
                f"The figures of {members} differ from the ledger. To repair: manage.py reconcile_points --repair"
            )
            sys.exit(1)
