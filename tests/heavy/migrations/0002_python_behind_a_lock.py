from django.db import migrations


def nothing(apps: object, schema_editor: object) -> None:
    """Do nothing. The plan cannot know that."""


class Migration(migrations.Migration):
    dependencies = [("heavy", "0001_plain_index")]
    operations = [
        migrations.RunSQL('ALTER TABLE "Member" ADD COLUMN heavy integer'),
        migrations.RunPython(nothing),
    ]
