from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    dependencies = [("council", "0001_baseline")]
    operations = [
        migrations.RunSQL('LOCK TABLE "Member" IN ACCESS EXCLUSIVE MODE'),
        migrations.RunSQL("SELECT pg_sleep(1.5)"),
    ]
