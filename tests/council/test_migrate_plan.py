"""The output of `manage.py migrate --plan`."""

import json

import pytest

from tests.databases import Database, Templates, fill_to
from tests.projects import NEWEST, Project, number

pytestmark = pytest.mark.django_db


@pytest.fixture
def v1(database: Database, templates: Templates) -> Database:
    """The gateway's database, with a million members according to the catalogue."""
    database.become(templates.get("baseline", fill_to("council", "0001")))
    database.execute(
        """UPDATE pg_class SET reltuples = 1000000, relpages = 20000 WHERE oid = '"Member"'::regclass"""
    )
    return database


def test_the_plan_lists_each_operation_in_order(v1: Database) -> None:
    run = v1.manage("migrate", "council", "0006", "--plan")
    lines = run.stdout.splitlines()
    begin = lines.index("council.0005_member_points")
    assert lines[begin + 1 : begin + 5] == [
        "  Add field current_streak to member",
        '    ACCESS EXCLUSIVE on "Member" for an instant: reads, writes and DDL wait',
        "    reversible; earlier code keeps working",
        '      ALTER TABLE "Member" ADD COLUMN "currentStreak" integer DEFAULT 0 NOT NULL;',
    ]
    begin = lines.index("council.0006_member_points_index")
    assert (
        lines[begin + 1]
        == "  Build index Member_totalPoints_idx on member concurrently  (not in a transaction)"
    )
    assert lines[begin + 3] == '    index build of "Member": 1,000,000 rows, 156 MB'
    assert lines[-1].endswith("reads and writes wait for an instant at most; 0 warnings.")


def test_the_whole_plan_is_without_warnings_from_v1_and_changes_nothing(v1: Database) -> None:
    before = v1.catalog()

    told = json.loads(v1.manage("migrate", "--plan", "--format=json").stdout)

    assert v1.catalog() == before
    assert "django_session" not in "".join(before)
    assert told["warnings"] == 0
    assert told["longest_wait_seconds"] < 0.05
    assert {"migration", "operation", "sql", "locks", "work", "seconds", "in_transaction"} <= told["steps"][
        0
    ].keys()


def test_a_warning_gives_exit_status_1(v1: Database) -> None:
    more = {"DJANGO_SETTINGS_MODULE": "tests.third_party.settings"}
    run = v1.manage("migrate", "third_party", "0002", "--plan", check=False, **more)
    assert run.returncode == 1
    assert "unknown-statement: The plan does not know Do, so its locks are unknown." in run.stdout
    assert run.stdout.splitlines()[-2].endswith("1 warning.")


def test_with_check_anything_to_do_gives_exit_status_1(v1: Database) -> None:
    assert v1.manage("migrate", "council", "0002", "--plan", "--check", check=False).returncode == 1
    assert v1.manage("migrate", "council", "0001", "--plan", "--check").stdout == "Nothing to do.\n"


def test_a_reversal_can_be_planned_too(migrated: Database) -> None:
    run = migrated.manage("migrate", "gamification", "0008", "--plan")
    assert "  Undo: Install trigger trg_point_transaction_in_utc on pointtransaction" in run.stdout
    assert 'ACCESS EXCLUSIVE on "PointTransaction" for an instant: reads, writes and DDL wait' in run.stdout


def test_the_plan_warns_of_an_operation_that_migrate_then_refuses(
    project: Project, migrated: Database
) -> None:
    """The operation refuses when its SQL is collected, which `migrate` and its `--plan` do first."""
    name = f"{number('council', 1)}_long_ids"
    (project.folder / f"council/migrations/{name}.py").write_text(
        "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n"
        f'    dependencies = [("council", "{NEWEST["council"]}")]\n'
        '    operations = [migrations.AlterField("member", "id", models.CharField(max_length=40, primary_key=True))]\n'
    )

    told = project.manage("migrate", "--plan", database=migrated, check=False)
    run = project.manage("migrate", database=migrated, check=False)

    assert (told.returncode, run.returncode) == (1, 1)
    assert 'refused: migrate refuses it: "Member"."id" cannot change from text to varchar(40)' in told.stdout
    assert run.stderr.startswith(f"MigrationFailed: council.{name} ")
    assert "cannot be used" not in told.stderr + run.stderr


def test_a_database_that_differs_from_the_baseline_gives_a_message(v1: Database) -> None:
    v1.execute("""DELETE FROM django_migrations; ALTER TABLE "Member" DROP COLUMN company""")
    run = v1.manage("migrate", "--plan", check=False)
    assert run.returncode == 1
    assert "missing    column Member.company" in run.stderr
    assert "Traceback" not in run.stderr
