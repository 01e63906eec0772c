from django.db import migrations


class Migration(migrations.Migration):
    initial = True
    dependencies = [("council", "0001_baseline")]
    operations = [migrations.RunSQL('CREATE INDEX heavy_idx ON "Member" ("jobTitle")')]
