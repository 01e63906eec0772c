from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("third_party", "0001_raw_sql")]
    operations = [
        migrations.RunSQL('LOCK TABLE "Member" IN ACCESS EXCLUSIVE MODE'),
        migrations.RunSQL("SELECT pg_sleep(0.5)"),
        # The plan cannot know what this locks.
        migrations.RunSQL("""DO 'BEGIN ALTER TABLE "Team" ADD COLUMN theirs integer; END'"""),
    ]
