import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("plain", "0004_python_in_steps")]
    operations = [
        migrations.AlterField("author", "name", models.CharField(max_length=100, unique=True)),
        migrations.AddField("author", "slug", models.CharField(max_length=30, null=True, unique=True)),
        migrations.AddConstraint(
            "author",
            models.UniqueConstraint(
                fields=["name", "score"], name="plain_late", deferrable=models.Deferrable.DEFERRED
            ),
        ),
        migrations.AddConstraint(
            "author",
            models.UniqueConstraint(fields=["name", "rank"], name="plain_nulls", nulls_distinct=False),
        ),
        migrations.AddConstraint(
            "author",
            models.UniqueConstraint(
                fields=["email"], name="plain_some", condition=models.Q(score__gt=0), include=["score"]
            ),
        ),
        migrations.AddField(
            "book",
            "editor",
            models.ForeignKey(
                "plain.author",
                django.db.models.deletion.CASCADE,
                null=True,
                db_constraint=False,
                related_name="+",
            ),
        ),
        migrations.AlterField(
            "book",
            "editor",
            models.ForeignKey("plain.author", django.db.models.deletion.CASCADE, null=True, related_name="+"),
        ),
        migrations.AddField(
            "book",
            "twin",
            models.OneToOneField(
                "plain.book", django.db.models.deletion.CASCADE, null=True, related_name="+"
            ),
        ),
        migrations.AlterField(
            "book",
            "author",
            models.OneToOneField("plain.author", django.db.models.deletion.CASCADE, null=True),
        ),
        migrations.AlterField("book", "title", models.CharField(max_length=100, db_index=True)),
        migrations.AlterField("author", "score", models.IntegerField(default=7, db_index=True)),
        migrations.AlterField(
            "book", "code", models.CharField(max_length=20, db_default="50 %", db_index=True)
        ),
        migrations.AddField("author", "note", models.CharField(max_length=20, null=True)),
        migrations.AlterField(
            "author",
            "note",
            models.CharField(max_length=20, default="nobody's %s"),
            preserve_default=False,
        ),
    ]
