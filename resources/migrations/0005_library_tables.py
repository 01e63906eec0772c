"""Tags, versions of files, and the searches that found nothing.

Locks: none, the tables are new; SHARE ROW EXCLUSIVE on ResourceTag, for an instant, for their keys.
Safe with the code before it: yes, nothing else knows them.
Way back: drops the tables, rows and all.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import fields, indexes


class Migration(migrations.Migration):
    dependencies = [("resources", "0004_indexes")]
    operations = [
        migrations.CreateModel(
            name="ResourceSearchMiss",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                ("day", models.DateField()),
                ("words", models.TextField()),
                ("searches", models.IntegerField(db_default=1)),
            ],
            options={
                "verbose_name": "search without results",
                "verbose_name_plural": "searches without results",
                "db_table": "ResourceSearchMiss",
                "constraints": [
                    indexes.UniqueIndex(fields=("day", "words"), name="ResourceSearchMiss_day_words_key")
                ],
            },
        ),
        migrations.CreateModel(
            name="ResourceTag",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                ("name", models.TextField()),
                ("slug", models.TextField()),
                (
                    "created_at",
                    fields.TimestampField(
                        db_column="createdAt", db_default=fields.CurrentTimestamp(), editable=False
                    ),
                ),
            ],
            options={
                "db_table": "ResourceTag",
                "constraints": [
                    indexes.UniqueIndex(fields=("name",), name="ResourceTag_name_key"),
                    indexes.UniqueIndex(fields=("slug",), name="ResourceTag_slug_key"),
                ],
            },
        ),
        migrations.CreateModel(
            name="ResourceTagging",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                (
                    "resource",
                    models.ForeignKey(
                        db_column="resourceId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="taggings",
                        to="resources.resource",
                    ),
                ),
                (
                    "tag",
                    models.ForeignKey(
                        db_column="tagId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="taggings",
                        to="resources.resourcetag",
                    ),
                ),
            ],
            options={
                "db_table": "ResourceTagging",
            },
        ),
        migrations.AddField(
            model_name="resource",
            name="tags",
            field=models.ManyToManyField(
                blank=True,
                related_name="resources",
                through="resources.ResourceTagging",
                to="resources.resourcetag",
            ),
        ),
        migrations.CreateModel(
            name="ResourceVersion",
            fields=[
                ("id", fields.CuidField(serialize=False)),
                ("number", models.IntegerField()),
                ("note", models.TextField(blank=True, db_default="")),
                ("storage_path", models.TextField(db_column="storagePath")),
                ("file_name", models.TextField(db_column="fileName")),
                ("file_size", models.BigIntegerField(db_column="fileSize")),
                ("mime_type", models.TextField(db_column="mimeType", verbose_name="media type")),
                ("sha256", models.TextField(verbose_name="SHA-256")),
                ("uploaded_by", models.TextField(blank=True, db_column="uploadedBy", null=True)),
                (
                    "created_at",
                    fields.TimestampField(
                        db_column="createdAt", db_default=fields.CurrentTimestamp(), editable=False
                    ),
                ),
                ("purged_at", fields.TimestampField(blank=True, db_column="purgedAt", null=True)),
                (
                    "resource",
                    models.ForeignKey(
                        db_column="resourceId",
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="versions",
                        to="resources.resource",
                    ),
                ),
            ],
            options={
                "db_table": "ResourceVersion",
            },
        ),
        migrations.AddConstraint(
            model_name="resourcetagging",
            constraint=indexes.UniqueIndex(
                fields=("resource", "tag"), name="ResourceTagging_resourceId_tagId_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="resourceversion",
            constraint=indexes.UniqueIndex(
                fields=("resource", "number"), name="ResourceVersion_resourceId_number_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="resourceversion",
            constraint=indexes.UniqueIndex(fields=("storage_path",), name="ResourceVersion_storagePath_key"),
        ),
        migrations.AddConstraint(
            model_name="resourceversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("file_size__gt", 0), ("number__gt", 0)),
                name="ResourceVersion_number_check",
            ),
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="resourcesearchmiss",
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="resourcetag",
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="resourcetagging",
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="resourceversion",
        ),
    ]
