from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("harmful", "0001_keeps_everybody_waiting")]
    operations = [migrations.RunSQL('ALTER TABLE "Member" RENAME "jobTitle" TO title')]
