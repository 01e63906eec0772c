import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("plain", "0001_initial")]
    operations = [
        migrations.AlterModelOptions("author", {"ordering": ["name"]}),
        migrations.AddIndex("author", models.Index(fields=["name", "-score"], name="plain_author_name")),
        migrations.AddConstraint(
            "author", models.CheckConstraint(condition=models.Q(score__gte=0), name="plain_score")
        ),
        migrations.AddField("author", "rank", models.PositiveIntegerField(default=7), preserve_default=False),
        migrations.AddField(
            "book",
            "author",
            models.ForeignKey("plain.author", django.db.models.deletion.CASCADE, null=True),
        ),
        migrations.AddField("book", "code", models.CharField(max_length=20, null=True, db_index=True)),
        migrations.AlterField("author", "email", models.CharField(max_length=200)),
        migrations.CreateModel(
            "Shelf",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("book", models.ForeignKey("plain.book", django.db.models.deletion.CASCADE)),
            ],
        ),
        migrations.AddConstraint(
            "shelf", models.CheckConstraint(condition=models.Q(id__gt=0), name="plain_shelf_id")
        ),
    ]
