"""Removed fields and models: Django forgets them in one release, and a later one drops them from the database."""

import pytest

from tests.council.changes import MEMBER, VISIBLE
from tests.databases import Database
from tests.projects import NEWEST, Project, number

pytestmark = pytest.mark.any_server

COMPANY = "    company = models.TextField(null=True, blank=True)\n"
INVITEE_KEY = """            UniqueIndex(name="PendingInvite_token_key", fields=["token"]),
"""


def without_tokens(project: Project) -> None:
    project.edit(MEMBER, "    token = models.TextField()\n", "")
    project.edit(MEMBER, INVITEE_KEY, "")
    project.edit(MEMBER, '            Index(name="PendingInvite_token_idx", fields=["token"]),\n', "")


def without_checkpoints(project: Project) -> None:
    text = (project.folder / "gamification/models.py").read_text()
    model = text[
        text.index("class LeaderboardCheckpoint(") : text.index("class DiscordActivity(models.Model)")
    ]
    project.edit("gamification/models.py", model, "")
    for file in ("leaderboard.py", "admin.py", "verification.py"):
        path = project.folder / "gamification" / file
        path.write_text(path.read_text().replace("LeaderboardCheckpoint", "PointRule"))


INVITE = """INSERT INTO "PendingInvite" (id, "teamId", "seatTier", token, "createdBy")
VALUES ({}, 't', 'TEAM_MEMBER', {}, 'm')"""
INVITE_WITHOUT_TOKEN = """INSERT INTO "PendingInvite" (id, "teamId", "seatTier", "createdBy")
VALUES ({}, 't', 'TEAM_MEMBER', 'm')"""


def test_a_column_is_removed_in_two_releases_and_old_code_works_until_the_second(
    project: Project, migrated: Database
) -> None:
    migrated.execute(
        """INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt") VALUES ('t', 'A', 'c', now())"""
    )
    migrated.execute(INVITE.format("'a'", "'secret'"))
    without_tokens(project)

    refused = project.manage("makemigrations", "--no-input", check=False)
    forgotten = project.makemigrations("--forget")

    assert refused.returncode == 1
    assert (
        "PendingInvite.token was removed from the model, but running code may still use its column."
        in refused.stderr
    )
    assert list(forgotten) == [
        "council/+1_alter_pending_invite_token",
        "council/+2_forget_pending_invite_token",
    ]
    project.manage("migrate", database=migrated)
    migrated.execute(INVITE.format("'b'", "'other secret'"))  # code before the migration
    migrated.execute(INVITE_WITHOUT_TOKEN.format("'c'"))  # code after the migration
    assert migrated.fetch('SELECT token FROM "PendingInvite" ORDER BY id') == [
        ("secret",),
        ("other secret",),
        (None,),
    ]
    assert project.makemigrations() == {}

    dropped = project.makemigrations("--drop")

    [(name, text)] = dropped.items()
    assert name == "council/+3_drop_pending_invite_token"
    assert (
        "Safe with the code before it: only if it was deployed with or after the migration that removed this"
        in text
    )
    before = migrated.catalog()
    project.manage("migrate", database=migrated)
    assert [line for line in migrated.catalog() if "token" in line] == []
    assert project.makemigrations("--drop") == {}
    project.manage("migrate", "council", number("council", 2), database=migrated)
    columns = [line for line in before if line.startswith("COLUMN|")]
    assert [line for line in migrated.catalog() if line.startswith("COLUMN|")] == columns


def test_a_table_is_removed_in_two_releases(project: Project, migrated: Database) -> None:
    without_checkpoints(project)

    forgotten = project.makemigrations("--forget")

    assert list(forgotten) == ["gamification/+1_forget_leaderboard_checkpoint"]
    project.manage("migrate", database=migrated)
    assert migrated.fetch('SELECT count(*) FROM "LeaderboardCheckpoint"') == [(0,)]
    dropped = project.makemigrations("--drop")
    assert list(dropped) == ["gamification/+2_drop_leaderboard_checkpoint"]
    assert (
        "ACCESS EXCLUSIVE on LeaderboardCheckpoint, for an instant"
        in dropped["gamification/+2_drop_leaderboard_checkpoint"]
    )
    project.manage("migrate", database=migrated)
    assert migrated.fetch("""SELECT to_regclass('"LeaderboardCheckpoint"')""") == [(None,)]
    project.manage("migrate", "gamification", NEWEST["gamification"], database=migrated)
    assert migrated.fetch('SELECT count(*) FROM "LeaderboardCheckpoint"') == [(0,)]


def test_a_column_that_a_new_field_uses_is_not_dropped(project: Project) -> None:
    project.edit(MEMBER, COMPANY, "")
    project.makemigrations("--forget")
    project.edit(MEMBER, VISIBLE, f'{VISIBLE}    firm = models.TextField(db_column="company", null=True)\n')
    name = f"council/migrations/{number('council', 2)}_firm.py"
    (project.folder / name).write_text(
        "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"
        f'    dependencies = [("council", "{number("council", 1)}_forget_member_company")]\n'
        "    operations = [migrations.SeparateDatabaseAndState(state_operations=[migrations.AddField("
        '"member", "firm", models.TextField(db_column="company", null=True))])]\n'
    )

    assert project.makemigrations("--drop") == {}
