"""What a resource is beside its title: its state, its author, its stored file; and the figures that two orders go by.

Locks: ACCESS EXCLUSIVE on Resource, for an instant: no rewrite; reading and writing wait.
Safe with the code before it: yes, they are nullable or have a default in the database.
Way back: drops them, values and all.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields


class Migration(migrations.Migration):
    dependencies = [("resources", "0005_library_tables")]
    operations = [
        zero_downtime.CreateEnum(
            name="ResourceStatus",
            labels=["DRAFT", "SCHEDULED", "PUBLISHED"],
        ),
        migrations.AddField(
            model_name="resource",
            name="author",
            field=models.TextField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="resource",
            name="current_version",
            field=models.IntegerField(blank=True, db_column="currentVersion", editable=False, null=True),
        ),
        migrations.AddField(
            model_name="resource",
            name="deleted_at",
            field=fields.TimestampField(blank=True, db_column="deletedAt", editable=False, null=True),
        ),
        migrations.AddField(
            model_name="resource",
            name="file_name",
            field=models.TextField(blank=True, db_column="fileName", editable=False, null=True),
        ),
        migrations.AddField(
            model_name="resource",
            name="file_size",
            field=models.BigIntegerField(blank=True, db_column="fileSize", editable=False, null=True),
        ),
        migrations.AddField(
            model_name="resource",
            name="mime_type",
            field=models.TextField(
                blank=True, db_column="mimeType", editable=False, null=True, verbose_name="media type"
            ),
        ),
        migrations.AddField(
            model_name="resource",
            name="publish_at",
            field=fields.TimestampField(blank=True, db_column="publishAt", null=True),
        ),
        migrations.AddField(
            model_name="resource",
            name="ranked_downloads",
            field=models.IntegerField(db_column="rankedDownloads", db_default=0, editable=False),
        ),
        migrations.AddField(
            model_name="resource",
            name="recent_downloads",
            field=models.IntegerField(db_column="recentDownloads", db_default=0, editable=False),
        ),
        migrations.AddField(
            model_name="resource",
            name="sha256",
            field=models.TextField(blank=True, editable=False, null=True, verbose_name="SHA-256"),
        ),
        migrations.AddField(
            model_name="resource",
            name="status",
            field=fields.EnumField(db_default="PUBLISHED", enum="ResourceStatus"),
        ),
        migrations.AddField(
            model_name="resource",
            name="storage_path",
            field=models.TextField(blank=True, db_column="storagePath", editable=False, null=True),
        ),
        migrations.AddField(
            model_name="resource",
            name="thumbnail_path",
            field=models.TextField(blank=True, db_column="thumbnailPath", editable=False, null=True),
        ),
        migrations.AddField(
            model_name="resource",
            name="uploaded_by",
            field=models.TextField(blank=True, db_column="uploadedBy", editable=False, null=True),
        ),
    ]
