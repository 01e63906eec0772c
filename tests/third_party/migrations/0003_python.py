from django.db import migrations


def lock(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SHOW lock_timeout")
        print("attempt with", *cursor.fetchone(), flush=True)
        # This setting is rolled back with the attempt, and ends with the migration.
        cursor.execute("""LOCK TABLE "Member" IN ACCESS EXCLUSIVE MODE; SET lock_timeout = 0""")


class Migration(migrations.Migration):
    dependencies = [("third_party", "0002_two_tables")]
    operations = [migrations.RunPython(lock, migrations.RunPython.noop)]
