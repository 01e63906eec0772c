"""From a changed model to migrations that run: the command as a developer runs it, in a copy of the project."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from council.postgres import facts
from council.postgres.facts import Fact
from council.verification import manifest
from tests.databases import Database
from tests.projects import APPS, NEWEST, Project, ahead, number

pytestmark = pytest.mark.any_server

ANSWERS = ("\nLocks: ", "\nSafe with the code before it: ", "\nWay back: ")
BASELINE = "0001_baseline.py"


def ruff(*arguments: str, folder: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_whole_of_version_2_comes_out_of_the_models(
    project: Project, database: Database, migrated: Database
) -> None:
    for app in APPS:
        for file in (project.folder / app / "migrations").glob("0*.py"):
            if file.name != BASELINE:
                file.unlink()

    written = project.makemigrations()

    assert [name for name in written if not name.startswith("council/")] == [
        "benchmarks/0001_initial",
        "benchmarks/0002_fks_not_valid",
        "benchmarks/0003_validate_fks",
        "benchmarks/0004_indexes",
        "benchmarks/0005_create_function_benchmark_answers",
        "benchmarks/0006_triggers",
        "gamification/0001_initial",
        "gamification/0002_fks_not_valid",
        "gamification/0003_validate_fks",
        "gamification/0004_indexes",
        "gamification/0005_functions",
        "gamification/0006_triggers",
        "resources/0001_initial",
        "resources/0002_fks_not_valid",
        "resources/0003_validate_fks",
        "resources/0004_indexes",
        "resources/0005_triggers",
    ]
    for name, text in written.items():
        assert text.startswith('"""') and all(answer in text for answer in ANSWERS), name
        assert ("atomic = False" in text) is ("indexes" in name.split("/")[1]), name
        assert ("CreateModel" in text) <= ("EnableRowLevelSecurity" in text), name
        assert set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE)) <= {"django", "council"}, name
    ruff("check", "--quiet", folder=project.folder)
    ruff("format", "--check", "--quiet", folder=project.folder)
    project.manage("migrate", database=database)
    assert set(database.catalog()) == set(migrated.catalog())
    with database.as_django_connection() as connection:
        assert manifest.describe(connection) ^ manifest.expected() == set()
    project.manage("makemigrations", "--check", database=database)
    assert project.makemigrations() == {}
    assert project.manage("lint_migrations", database=database).stdout == "Nothing found.\n"


class Change(NamedTuple):
    """A change of the models, and the files that come of it with what is in each."""

    edits: list[tuple[str, str, str]]
    files: dict[str, list[str]]
    is_reversible: bool = True
    is_of_the_database: bool = True


def schema(database: Database) -> set[Fact]:
    """Describe all that is in a database."""
    enums = database.fetch("SELECT DISTINCT enumtypid::regtype::text FROM pg_enum")
    tables = database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    with database.as_django_connection() as connection:
        return facts.of_schema(
            connection,
            tables=[str(name) for (name,) in tables],
            enums=[str(name).strip('"') for (name,) in enums],
        )


MEMBER = "council/models.py"
VISIBLE = """    leaderboard_visible = models.BooleanField(
        "listed on leaderboards", db_column="leaderboardVisible", db_default=True
    )
"""
MEMBER_INDEX = """            Index(name="Member_totalPoints_idx", fields=["-total_points"]),
"""
MEMBER_KEY = """            UniqueIndex(name="Member_email_key", fields=["email"]),
"""


def with_member_field(field: str) -> tuple[str, str, str]:
    return MEMBER, VISIBLE, f"{VISIBLE}    {field}\n"


CHANGES = {
    "nullable column": Change(
        [with_member_field('nickname = models.TextField(db_column="nickName", null=True, blank=True)')],
        {
            "council/+1_member_nickname": [
                "New columns: Member.nickName.",
                "Locks: ACCESS EXCLUSIVE on Member, for an instant: no rewrite; reading and writing wait.",
                f'dependencies = [("council", "{NEWEST["council"]}")]',
                "migrations.AddField(",
            ]
        },
    ),
    "columns with defaults of the database": Change(
        [
            with_member_field("visits = models.IntegerField(db_default=0)"),
            with_member_field("seen_at = TimestampField(db_default=CurrentTimestamp())"),
        ],
        {"council/+1_member_columns": ["New columns: Member.seen_at and Member.visits."]},
    ),
    "foreign key on a table that is there": Change(
        [
            with_member_field(
                'referrer = models.ForeignKey("self", on_delete=models.DO_NOTHING, db_constraint=False, '
                'db_index=False, db_column="referrerId", null=True, related_name="+")'
            ),
            (
                MEMBER,
                MEMBER_KEY,
                f'{MEMBER_KEY}            ForeignKeyConstraint(name="Member_referrerId_fkey", field="referrer", '
                "on_delete=Action.SET_NULL, on_update=Action.CASCADE),\n",
            ),
        ],
        {
            "council/+1_member_referrer": ["migrations.AddField("],
            "council/+2_member_fks_not_valid": [
                "zero_downtime.AddForeignKeyNotValid(",
                "Locks: SHARE ROW EXCLUSIVE on Member, for an instant; writing waits.",
            ],
            "council/+3_validate_member_fks": [
                "zero_downtime.ValidateConstraint(",
                'name="Member_referrerId_fkey"',
            ],
        },
    ),
    "index": Change(
        [
            (
                MEMBER,
                MEMBER_INDEX,
                f'{MEMBER_INDEX}            Index(name="Member_company_idx", fields=["company"]),\n',
            )
        ],
        {"council/+1_member_indexes": ["    atomic = False\n", "zero_downtime.AddIndexConcurrently("]},
    ),
    "unique index": Change(
        [
            (
                MEMBER,
                MEMBER_KEY,
                f'{MEMBER_KEY}            UniqueIndex(name="Member_linkedInUrl_key", fields=["linkedin_url"]),\n',
            )
        ],
        {
            "council/+1_member_indexes": [
                "    atomic = False\n",
                "zero_downtime.AddUniqueIndexConcurrently(",
                "unless it writes what a unique one refuses",
            ]
        },
    ),
    "indexes that go, one for another": Change(
        [
            (
                MEMBER,
                MEMBER_INDEX,
                '            Index(name="Member_totalPoints_id_idx", fields=["-total_points", "id"]),\n',
            ),
            (MEMBER, 'UniqueIndex(name="FeatureFlag_key_key", fields=["key"])', ""),
        ],
        {
            "council/+1_member_indexes": ["zero_downtime.AddIndexConcurrently("],
            "council/+2_drop_feature_flag_member_indexes": [
                "    atomic = False\n",
                "zero_downtime.RemoveUniqueIndexConcurrently(",
                "zero_downtime.RemoveIndexConcurrently(",
            ],
        },
    ),
    "check": Change(
        [
            (
                MEMBER,
                MEMBER_KEY,
                f'{MEMBER_KEY}            models.CheckConstraint(name="Member_currentStreak_check", '
                "condition=models.Q(current_streak__gte=0)),\n",
            )
        ],
        {
            "council/+1_member_checks_not_valid": ["zero_downtime.AddCheckNotValid("],
            "council/+2_validate_member_checks": ["zero_downtime.ValidateConstraint("],
        },
    ),
    "another check of the same name": Change(
        [
            (
                "gamification/models.py",
                "condition=models.Q(points__gte=0),",
                "condition=models.Q(points__gte=0, points__lte=1000),",
            )
        ],
        {
            "gamification/+1_point_rule_checks_not_valid": [
                "migrations.RemoveConstraint(",
                "zero_downtime.AddCheckNotValid(",
            ],
            "gamification/+2_validate_point_rule_checks": ["zero_downtime.ValidateConstraint("],
        },
    ),
    "constraints that go, and another name of an index": Change(
        [
            (
                MEMBER,
                'Index(name="Member_teamId_idx", fields=["team"])',
                'Index(name="Member_team", fields=["team"])',
            ),
            (
                MEMBER,
                """            ForeignKeyConstraint(
                name="Member_teamId_fkey", field="team", on_delete=Action.SET_NULL, on_update=Action.CASCADE
            ),
""",
                "",
            ),
        ],
        {
            "council/+1_drop_member_constraints": [
                "Constraints that go: Member_teamId_fkey.",
                "Locks: ACCESS EXCLUSIVE on Member and Team, for an instant; reading and writing wait.",
                "migrations.RemoveConstraint(",
            ],
            "council/+2_alter_member": ["migrations.RenameIndex("],
        },
    ),
    "other actions of a key": Change(
        [
            (
                MEMBER,
                'name="Member_teamId_fkey", field="team", on_delete=Action.SET_NULL,',
                'name="Member_teamId_fkey", field="team", on_delete=Action.RESTRICT,',
            )
        ],
        {
            "council/+1_member_fks_not_valid": [
                "Locks: ACCESS EXCLUSIVE on Member and Team, for an instant; reading and writing wait.",
                "migrations.RemoveConstraint(",
                "zero_downtime.AddForeignKeyNotValid(",
            ],
            "council/+2_validate_member_fks": ["zero_downtime.ValidateConstraint("],
        },
    ),
    "not null": Change(
        [
            (
                MEMBER,
                'accepted_by = models.TextField(db_column="acceptedBy", null=True, blank=True)',
                'accepted_by = models.TextField(db_column="acceptedBy", db_default="nobody")',
            )
        ],
        {
            "council/+1_alter_pending_invite_accepted_by": [
                "migrations.AlterField(",
                'db_default="nobody", null=True',
            ],
            "council/+2_pending_invite_accepted_by_checks_not_valid": [
                "zero_downtime.AddFilledCheck(",
                'name="accepted_by"',
            ],
            "council/+3_validate_pending_invite_checks": ['name="PendingInvite_acceptedBy_filled_check"'],
            "council/+4_pending_invite_accepted_by_not_null": ["zero_downtime.SetNotNull("],
        },
    ),
    "wider, and nullable": Change(
        [
            (
                "gamification/models.py",
                "label = models.CharField(max_length=80)",
                "label = models.CharField(max_length=120, null=True)",
            )
        ],
        {"gamification/+1_alter_point_rule_label": ["migrations.AlterField("]},
    ),
    "enum": Change(
        [
            (
                MEMBER,
                "class Team(models.Model):",
                'class Language(models.TextChoices):\n    EN = "EN"\n    DE = "DE"\n\n\nclass Team(models.Model):',
            ),
            with_member_field(
                'language = EnumField(enum="Language", choices=Language, db_default=Language.EN.value)'
            ),
        ],
        {
            "council/+1_member_language": [
                'zero_downtime.CreateEnum(\n            name="Language",\n            labels=["EN", "DE"],',
                "migrations.AddField(",
            ]
        },
    ),
    "label of an enum": Change(
        [
            (
                "resources/models.py",
                '    PLAYBOOK = "PLAYBOOK"\n',
                '    CHECKLIST = "CHECKLIST"\n    PLAYBOOK = "PLAYBOOK"\n',
            )
        ],
        {
            "resources/+1_resourcetype_checklist": [
                "    atomic = False\n",
                'name="ResourceType"',
                'label="CHECKLIST"',
                'after="SOP"',
            ]
        },
        is_reversible=False,  # PostgreSQL cannot take a label away
    ),
    "another body of a trigger": Change(
        [
            (
                "gamification/triggers.py",
                "RAISE EXCEPTION 'The points ledger is append-only: TRUNCATE refused.'",
                "RAISE EXCEPTION 'The points ledger is append-only: no TRUNCATE.'",
            )
        ],
        {
            "gamification/+1_point_transaction_triggers": [
                "zero_downtime.ReplaceTrigger(",
                'POINT_TRANSACTION_NO_TRUNCATE = """\\\nBEGIN\n',
                "Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing waits.",
            ]
        },
    ),
    "another event of a trigger": Change(
        [
            (
                "gamification/triggers.py",
                "operation=pgtrigger.Update | pgtrigger.Delete,",
                "operation=pgtrigger.Delete,",
            )
        ],
        {
            "gamification/+1_point_transaction_triggers": [
                "pgtrigger.migrations.RemoveTrigger(",
                "zero_downtime.AddTrigger(",
                "Locks: ACCESS EXCLUSIVE on PointTransaction, for an instant; reading and writing wait.",
            ]
        },
    ),
    "another body of a function, and one more": Change(
        [
            (
                "gamification/functions.py",
                "WHEN 5 THEN 3 WHEN 6 THEN 2 ELSE 1",
                "WHEN 5 THEN 3 WHEN 6 THEN 2 ELSE 1 + 0",
            ),
            (
                "gamification/functions.py",
                "ALL = [NEXT_WEEKDAY,",
                'ALL = [Function("two", "", "RETURNS bigint LANGUAGE sql\\nRETURN 2"), NEXT_WEEKDAY,',
            ),
        ],
        {
            "gamification/+1_functions": [
                "zero_downtime.CreateFunction(",
                "zero_downtime.ReplaceFunction(",
                'NEXT_WEEKDAY_FORMER = """',
            ]
        },
    ),
    "model": Change(
        [
            (
                "resources/models.py",
                "class ResourceDownload(models.Model):",
                """class Colour(models.TextChoices):
    RED = "RED"


class Bookmark(models.Model):
    member = models.ForeignKey(
        Member, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    resource = models.ForeignKey(
        Resource, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    colour = EnumField(enum="Colour", choices=Colour)

    class Meta:
        db_table = "Bookmark"
        constraints = [
            UniqueIndex(name="Bookmark_member_resource_key", fields=["member", "resource"]),
            ForeignKeyConstraint(
                name="Bookmark_member_fkey", field="member", on_delete=Action.CASCADE, on_update=Action.CASCADE
            ),
            ForeignKeyConstraint(
                name="Bookmark_resource_fkey", field="resource", on_delete=Action.CASCADE, on_update=Action.CASCADE
            ),
        ]
        indexes = [Index(name="Bookmark_resource_idx", fields=["resource"])]


class ResourceDownload(models.Model):""",
            ),
        ],
        {
            "resources/+1_bookmark": [
                "zero_downtime.CreateEnum(",
                "migrations.CreateModel(",
                "indexes.UniqueIndex(",
                "zero_downtime.EnableRowLevelSecurity(",
            ],
            "resources/+2_bookmark_fks_not_valid": [
                "Locks: SHARE ROW EXCLUSIVE on Bookmark, Member and Resource, for an instant; writing waits."
            ],
            "resources/+3_validate_bookmark_fks": ["zero_downtime.ValidateConstraint("],
            "resources/+4_bookmark_indexes": ["    atomic = False\n"],
        },
    ),
    "what the database does not know of": Change(
        [
            (
                MEMBER,
                "company = models.TextField(null=True, blank=True)",
                'firm = models.TextField(db_column="company", null=True, blank=True)',
            ),
            (
                "gamification/models.py",
                'violation_error_message="A rule gives 0 points or more."',
                'violation_error_message="Points are 0 or more."',
            ),
        ],
        {
            "council/+1_member_company_state": ["migrations.RenameField(", "Locks: none."],
            "gamification/+1_point_rule_state": ["migrations.AlterConstraint("],
        },
        is_of_the_database=False,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_becomes_steps_that_run_both_ways(project: Project, migrated: Database, name: str) -> None:
    change = CHANGES[name]
    for edit in change.edits:
        project.edit(*edit)
    files, before = project.migrations(), schema(migrated)

    project.manage_in_turn(
        ["makemigrations", "--no-input"], ["migrate"], ["makemigrations", "--check"], database=migrated
    )

    written = {ahead(file): project.text(file) for file in sorted(project.migrations() - files)}
    assert list(written) == list(change.files)
    for file, fragments in change.files.items():
        assert all(answer in written[file] for answer in ANSWERS)
        for fragment in fragments:
            assert fragment in written[file]
    assert (schema(migrated) != before) is change.is_of_the_database
    leaves = [
        max(file for file in files if file.startswith(f"{app}/"))
        for app in {one.split("/")[0] for one in written}
    ]
    project.manage_in_turn(*(["migrate", *leaf.split("/")] for leaf in leaves), database=migrated)
    if change.is_reversible:
        assert schema(migrated) == before


CHECKED = {"check", "another check of the same name", "not null"}
# Those that want the same lines as others.
ALONE = {"index", "other actions of a key", "another event of a trigger"}


def test_many_changes_at_once_are_as_safe_for_the_plan_s_rules_too(
    project: Project, migrated: Database
) -> None:
    for edit in (
        edit for name, change in CHANGES.items() if name not in CHECKED | ALONE for edit in change.edits
    ):
        project.edit(*edit)

    project.manage_in_turn(
        ["makemigrations", "--no-input"],
        ["lint_migrations"],
        ["migrate"],
        ["makemigrations", "--check"],
        database=migrated,
    )

    for edit in (edit for name in CHECKED for edit in CHANGES[name].edits):
        project.edit(*edit)
    project.makemigrations()
    linted = project.manage("lint_migrations", "--format", "json", database=migrated, check=False)
    assert {one["rule"] for one in json.loads(linted.stdout)} == {
        "unchecked-rows"
    }  # what people have to look at
    project.manage("migrate", database=migrated)


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


def test_a_column_goes_in_two_releases_and_code_from_before_works_until_the_second(
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
        "PendingInvite.token is gone from the model, and code that runs may still use its column."
        in refused.stderr
    )
    assert list(forgotten) == [
        "council/+1_alter_pending_invite_token",
        "council/+2_forget_pending_invite_token",
    ]
    project.manage("migrate", database=migrated)
    migrated.execute(INVITE.format("'b'", "'other secret'"))  # the code before it
    migrated.execute(INVITE_WITHOUT_TOKEN.format("'c'"))  # the code after it
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
        "Safe with the code before it: only if it came with or after the migration that had Django forget"
        in text
    )
    before = migrated.catalog()
    project.manage("migrate", database=migrated)
    assert [line for line in migrated.catalog() if "token" in line] == []
    assert project.makemigrations("--drop") == {}
    project.manage("migrate", "council", number("council", 2), database=migrated)
    columns = [line for line in before if line.startswith("COLUMN|")]
    assert [line for line in migrated.catalog() if line.startswith("COLUMN|")] == columns


def test_a_table_goes_in_two_releases(project: Project, migrated: Database) -> None:
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


def test_a_column_that_another_field_has_by_now_is_not_dropped(project: Project) -> None:
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


def test_nothing_is_rewritten_when_a_text_may_be_longer(project: Project, migrated: Database) -> None:
    file = """SELECT pg_relation_filenode('"PointRule"'), pg_relation_filenode('"PointRule_pkey"')"""
    before = migrated.fetch(file)
    project.edit(
        "gamification/models.py", "label = models.CharField(max_length=80)", "label = models.TextField()"
    )

    project.makemigrations()
    project.manage("migrate", database=migrated)

    assert migrated.fetch(file) == before
    assert migrated.fetch("""SELECT pg_typeof(label)::text FROM "PointRule" LIMIT 1""") == [("text",)]


def test_check_says_what_is_missing_and_writes_nothing(project: Project) -> None:
    assert project.manage("makemigrations", "--check").stdout == "No changes detected\n"
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))
    before = project.migrations()

    missing = project.manage("makemigrations", "--check", check=False)

    assert missing.returncode == 1
    assert f"council/migrations/{number('council', 1)}_member_nickname.py" in missing.stdout
    assert project.migrations() == before


def test_a_refused_change_fails_the_check_with_its_recipe(project: Project) -> None:
    project.edit(*with_member_field("nickname = models.TextField()"))

    result = project.manage("makemigrations", "--check", check=False)

    assert result.returncode == 1
    assert result.stderr.startswith("Refused: One change cannot be made while the database is in use.")
    assert "Give it a db_default, or null=True." in result.stderr


def test_migrate_says_that_a_migration_is_missing(project: Project, migrated: Database) -> None:
    project.edit("gamification/functions.py", "ELSE 1 END", "ELSE 1 + 0 END")

    result = project.manage("migrate", database=migrated)

    assert "Your models in app(s): 'gamification' have changes that are not yet reflected" in result.stdout


def test_a_dry_run_prints_the_file_and_writes_none(project: Project) -> None:
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))
    before = project.migrations()

    result = project.manage("makemigrations", "--dry-run", "--verbosity", "3")

    assert '"""New columns: Member.nickname.\n\nLocks: ACCESS EXCLUSIVE on Member' in result.stdout
    assert project.migrations() == before


def test_name_and_header_are_as_asked_for(project: Project) -> None:
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))

    written = project.makemigrations("council", "--name", "nicknames", "--no-header")

    assert list(written) == ["council/+1_nicknames"]
    assert written["council/+1_nicknames"].startswith("from django.db import migrations, models\n")


def test_scriptable_prints_the_paths_alone(project: Project) -> None:
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))

    result = project.manage("makemigrations", "--scriptable")

    assert result.stdout == f"council/migrations/{number('council', 1)}_member_nickname.py\n"


def test_an_empty_migration_has_the_questions_in_it(project: Project) -> None:
    written = project.makemigrations("gamification", "--empty", "--name", "fill_levels")

    [text] = written.values()
    assert list(written) == ["gamification/+1_fill_levels"]
    assert text.startswith('"""What it does.\n') and all(answer in text for answer in ANSWERS)
    assert "operations = []" in text


def test_two_branches_are_joined(project: Project, migrated: Database) -> None:
    project.edit(*with_member_field("nickname = models.TextField(null=True)"))
    [(one, text)] = project.makemigrations().items()
    assert one == "council/+1_member_nickname"
    own, other = (f"{number('council', 1)}_{name}" for name in ("member_nickname", "other"))
    (project.folder / "council" / "migrations" / f"{other}.py").write_text(text.replace("nickname", "other"))
    project.edit(*with_member_field("other = models.TextField(null=True)"))

    joined = project.makemigrations("--merge")

    [(path, text)] = joined.items()
    assert path == f"council/+2_merge_{own}_{other}"
    assert text.startswith('"""Joins branches that go on from the same migration.\n\nLocks: none.')
    project.manage("migrate", database=migrated)
    project.manage("makemigrations", "--check", database=migrated)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--update"],
            "--update would put several steps into one migration. Delete the files that are not applied",
        ),
        (["--forget", "--drop"], "--forget and --drop are for two releases"),
    ],
)
def test_options_that_would_undo_the_steps_are_refused(
    project: Project, arguments: list[str], words: str
) -> None:
    result = project.manage("makemigrations", *arguments, check=False)

    assert result.returncode == 1
    assert words in result.stderr
