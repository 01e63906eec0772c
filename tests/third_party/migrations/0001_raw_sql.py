from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    dependencies = [("council", "0005_member_points")]
    operations = [migrations.RunSQL('ALTER TABLE "Member" ADD COLUMN theirs integer')]
