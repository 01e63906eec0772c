"""`manage.py seed_demo`: fill the database with a made-up community, so that every page shows something."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection, transaction
from django.utils.module_loading import autodiscover_modules
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from council import demo
from council.models import Member
from council.zero_downtime import failures

ADDRESS = "http://127.0.0.1:8000"
CAST = (
    ("Mia", demo.MIA, "/", "owner of her company, rank 4, a streak of 6 days"),
    ("Ben", demo.BEN, "/", "past due: shows what a member sees after a failed payment"),
    ("Ops", demo.OPS, "/admin/", "staff (ADMIN): resources, reviews, points"),
    ("Ada", demo.ADA, "/admin/", "staff (SUPER_ADMIN): point rules, staff, figures as files"),
)


class Command(BaseCommand):
    help = "Fill the embedded database with a made-up community: 240 members, points, library and benchmarks."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.EMBEDDED_SERVER is None:
            raise CommandError(
                "DATABASE_URL is set. Made-up people may only go into the embedded database. Unset DATABASE_URL."
            )
        with failures.as_command_errors(connection, command="seed_demo"):
            if Member.objects.exists():
                raise CommandError(
                    "This database has members already. Nothing was changed. To start again, run "
                    "`manage.py embedded remove`, `manage.py migrate` and `manage.py seed_demo`."
                )
        self.seed()
        self.say_how_to_sign_in()

    def seed(self) -> None:
        """Run the acts of all apps in one transaction. A run that is killed leaves behind only files."""
        autodiscover_modules("demo")
        community = demo.Community()
        acts = demo.acts()
        columns = (TextColumn("{task.description:<28}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(file=self.stdout), transient=True) as progress:  # type: ignore[arg-type]
            task = progress.add_task("", total=len(acts))
            with transaction.atomic(), connection.cursor() as cursor:
                for name, act in acts:
                    progress.update(task, description=name)
                    act(community)
                    # Without this, the planner does not know of the rows that this transaction added.
                    cursor.execute("ANALYZE")
                    progress.advance(task)

    def say_how_to_sign_in(self) -> None:
        self.stdout.write(self.style.SUCCESS("The made-up community is ready. Start the server:"))
        self.stdout.write("  manage.py runserver")
        self.stdout.write(f"Then sign in with the password “{demo.PASSWORD}” as one of these:")
        for name, email, path, what in CAST:
            self.stdout.write(f"  {name}  {email:<22} {ADDRESS}{path:<8} {what}")
