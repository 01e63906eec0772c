from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("harmful", "0002_breaks_the_gateway")]
    operations = [migrations.RunSQL('ALTER TABLE "Member" DROP COLUMN "neverThere"')]
