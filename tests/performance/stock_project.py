"""A Django project that takes version 1 to version 2 with stock means, for other migration tools to work on.

The same tables and columns as ours, in the types that Django has: text for enums, `timestamp with time zone`.
"""

from pathlib import Path

SETTINGS = """\
import os

SECRET_KEY = "for measuring only"
INSTALLED_APPS = ["django_pg_migration_tools", "stock"] if os.environ["TOOLS"] else ["stock"]
DATABASES = {
    "default": {
        "ENGINE": os.environ["ENGINE"],
        "NAME": os.environ["NAME"],
        "HOST": os.environ["HOST"],
        "PORT": os.environ["PORT"],
        "USER": os.environ["OWNER"],
    }
}
USE_TZ = True
ZERO_DOWNTIME_MIGRATIONS_LOCK_TIMEOUT = "250ms"
ZERO_DOWNTIME_MIGRATIONS_STATEMENT_TIMEOUT = "2s"
ZERO_DOWNTIME_MIGRATIONS_FLEXIBLE_STATEMENT_TIMEOUT = True
ZERO_DOWNTIME_MIGRATIONS_RAISE_FOR_UNSAFE = True
"""
MIGRATION = """\
from django.db import migrations, models
from django.db.models.functions import Now
{imports}

class Migration(migrations.Migration):
    atomic = {atomic}
    dependencies = {dependencies}
    operations = [
{operations}
    ]
"""
# What the other models refer to; the rest of it is of no concern.
MEMBER = """
        migrations.CreateModel(
            name="Member",
            fields=[("id", models.TextField(primary_key=True))],
            options={"db_table": "Member"},
        ),
"""
COLUMNS = """
        migrations.AddField("member", "current_streak", models.IntegerField(db_column="currentStreak", db_default=0)),
        migrations.AddField("member", "last_active_at", models.DateTimeField(db_column="lastActiveAt", null=True)),
        migrations.AddField("member", "total_points", models.IntegerField(db_column="totalPoints", db_default=0)),
"""
MODELS = """
        migrations.CreateModel(
            name="PointTransaction",
            fields=[
                ("id", models.TextField(primary_key=True)),
                ("member", models.ForeignKey("stock.member", models.CASCADE, db_column="memberId")),
                ("action", models.TextField()),
                ("points", models.IntegerField()),
                ("metadata", models.JSONField(null=True)),
                ("created_at", models.DateTimeField(db_column="createdAt", db_default=Now())),
            ],
            options={
                "db_table": "PointTransaction",
                "indexes": [
                    models.Index(fields=["action"], name="PointTransaction_action_idx"),
                    models.Index(fields=["created_at"], name="PointTransaction_createdAt_idx"),
                ],
            },
        ),
        migrations.CreateModel(
            name="DiscordActivity",
            fields=[
                ("id", models.TextField(primary_key=True)),
                ("member", models.ForeignKey("stock.member", models.CASCADE, db_column="memberId")),
                ("discord_id", models.TextField(db_column="discordId")),
                ("activity_type", models.TextField(db_column="activityType")),
                ("xp_delta", models.IntegerField(db_column="xpDelta", null=True)),
                ("xp_total", models.IntegerField(db_column="xpTotal", null=True)),
                ("synced_at", models.DateTimeField(db_column="syncedAt", db_default=Now())),
            ],
            options={
                "db_table": "DiscordActivity",
                "indexes": [
                    models.Index(fields=["discord_id"], name="DiscordActivity_discordId_idx"),
                    models.Index(fields=["synced_at"], name="DiscordActivity_syncedAt_idx"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Resource",
            fields=[
                ("id", models.TextField(primary_key=True)),
                ("title", models.TextField()),
                ("description", models.TextField()),
                ("category", models.TextField()),
                ("type", models.TextField()),
                ("file_url", models.TextField(db_column="fileUrl")),
                ("thumbnail_url", models.TextField(db_column="thumbnailUrl", null=True)),
                ("is_featured", models.BooleanField(db_column="isFeatured", db_default=False)),
                ("download_count", models.IntegerField(db_column="downloadCount", db_default=0)),
                ("created_at", models.DateTimeField(db_column="createdAt", db_default=Now())),
                ("updated_at", models.DateTimeField(db_column="updatedAt")),
            ],
            options={
                "db_table": "Resource",
                "indexes": [
                    models.Index(fields=["category"], name="Resource_category_idx"),
                    models.Index(fields=["is_featured"], name="Resource_isFeatured_idx"),
                    models.Index(fields=["type"], name="Resource_type_idx"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ResourceDownload",
            fields=[
                ("id", models.TextField(primary_key=True)),
                ("resource", models.ForeignKey("stock.resource", models.CASCADE, db_column="resourceId")),
                ("member", models.ForeignKey("stock.member", models.CASCADE, db_column="memberId")),
                ("downloaded_at", models.DateTimeField(db_column="downloadedAt", db_default=Now())),
            ],
            options={
                "db_table": "ResourceDownload",
                "indexes": [models.Index(fields=["downloaded_at"], name="Download_downloadedAt_idx")],
            },
        ),
        migrations.CreateModel(
            name="BenchmarkSubmission",
            fields=[
                ("id", models.TextField(primary_key=True)),
                ("member", models.ForeignKey("stock.member", models.CASCADE, db_column="memberId")),
                ("category", models.TextField()),
                ("data", models.JSONField()),
                ("is_valid", models.BooleanField(db_column="isValid", db_default=True)),
                ("submitted_at", models.DateTimeField(db_column="submittedAt", db_default=Now())),
                ("updated_at", models.DateTimeField(db_column="updatedAt")),
            ],
            options={
                "db_table": "BenchmarkSubmission",
                "indexes": [models.Index(fields=["category"], name="Submission_category_idx")],
                "constraints": [
                    models.UniqueConstraint(fields=["member", "category"], name="Submission_member_category_key")
                ],
            },
        ),
"""
INDEX = """
        {operation}("member", models.Index(fields=["-total_points"], name="Member_totalPoints_idx")),
"""
TRIGGER = '''
        migrations.RunSQL("""
            {trigger}
        """),
'''
SAFER = "from django_pg_migration_tools.operations import SaferAddIndexConcurrently\n"


def write(folder: Path, *, trigger: str, with_tools: bool) -> None:
    """Write the project: in one migration, as makemigrations would; or in steps, as the migration tools advise."""
    columns, index = COLUMNS, INDEX.format(operation="migrations.AddIndex")
    last = TRIGGER.format(trigger=trigger)
    steps = [("initial", "", True, MEMBER), ("v2", "", True, MODELS + columns + index + last)]
    if with_tools:
        index = INDEX.format(operation="SaferAddIndexConcurrently")
        steps[1:] = [
            ("columns", "", True, columns),
            ("tables", "", True, MODELS),
            ("index", SAFER, False, index),
            ("trigger", "", True, last),
        ]
    migrations = folder / "stock" / "migrations"
    migrations.mkdir(parents=True)
    for package in (migrations.parent, migrations):
        (package / "__init__.py").touch()
    (folder / "stock_settings.py").write_text(SETTINGS)
    before: list[tuple[str, str]] = []
    for number, (label, imports, atomic, operations) in enumerate(steps, 1):
        name = f"{number:04}_{label}"
        text = MIGRATION.format(
            imports=imports, atomic=atomic, dependencies=before, operations=operations.strip("\n")
        )
        (migrations / f"{name}.py").write_text(text)
        before = [("stock", name)]
