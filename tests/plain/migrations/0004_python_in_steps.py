from django.db import migrations, models


def nothing(apps: object, schema_editor: object) -> None:
    """Do nothing. The plan cannot know that."""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("plain", "0003_python_beside")]
    operations = [
        migrations.RunPython(nothing, migrations.RunPython.noop),
        migrations.AddIndex("author", models.Index(fields=["email"], name="plain_author_email")),
    ]
