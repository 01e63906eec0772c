from django.db import migrations, models


def nothing(apps: object, schema_editor: object) -> None:
    """Do nothing. The plan cannot know that."""


class Migration(migrations.Migration):
    """It is one transaction, so that its index cannot be built concurrently."""

    dependencies = [("plain", "0002_everything")]
    operations = [
        migrations.AddIndex("author", models.Index(fields=["score"], name="plain_author_score")),
        migrations.RunPython(nothing, migrations.RunPython.noop),
    ]
