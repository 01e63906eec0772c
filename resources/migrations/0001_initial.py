"""The library, and its downloads.

Locks: none, the tables are new. Safe with the code before it: yes, nothing else knows them. Way back: drops
the tables, rows and all.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields


class Migration(migrations.Migration):
    initial = True
    dependencies = [("council", "0006_member_points_index")]
    operations = [
        zero_downtime.CreateEnum(
            name="ResourceCategory",
            labels=["COLD_EMAIL", "SALES_GTM", "CUSTOMER_SERVICE", "OPERATIONS", "AGENCY_GROWTH"],
        ),
        zero_downtime.CreateEnum(
            name="ResourceType",
            labels=["TEMPLATE", "SOP", "PLAYBOOK", "COURSE", "VIDEO"],
        ),
        migrations.CreateModel(
            name="Resource",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                ("title", models.TextField()),
                ("description", models.TextField()),
                ("category", fields.EnumField(enum="ResourceCategory")),
                ("type", fields.EnumField(enum="ResourceType")),
                ("file_url", models.TextField(db_column="fileUrl", verbose_name="file URL")),
                (
                    "thumbnail_url",
                    models.TextField(
                        blank=True, db_column="thumbnailUrl", null=True, verbose_name="thumbnail URL"
                    ),
                ),
                (
                    "is_featured",
                    models.BooleanField(db_column="isFeatured", db_default=False, verbose_name="featured"),
                ),
                (
                    "download_count",
                    models.IntegerField(db_column="downloadCount", db_default=0, editable=False),
                ),
                (
                    "created_at",
                    fields.TimestampField(
                        db_column="createdAt", db_default=fields.CurrentTimestamp(), editable=False
                    ),
                ),
                ("updated_at", fields.TimestampField(auto_now=True, db_column="updatedAt")),
            ],
            options={
                "db_table": "Resource",
            },
        ),
        migrations.CreateModel(
            name="ResourceDownload",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                (
                    "member",
                    models.ForeignKey(
                        db_column="memberId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="resource_downloads",
                        to="council.member",
                    ),
                ),
                (
                    "resource",
                    models.ForeignKey(
                        db_column="resourceId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="downloads",
                        to="resources.resource",
                    ),
                ),
                (
                    "downloaded_at",
                    fields.TimestampField(
                        db_column="downloadedAt", db_default=fields.CurrentTimestamp(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "ResourceDownload",
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="resource",
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="resourcedownload",
        ),
    ]
