from django.db import migrations


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("third_party", "0003_python")]
    operations = [
        migrations.RunSQL(
            'ALTER TABLE "Team" ADD COLUMN once integer', 'ALTER TABLE "Team" DROP COLUMN once'
        ),
        migrations.RunSQL(
            'ALTER TABLE "Member" ADD COLUMN once integer', 'ALTER TABLE "Member" DROP COLUMN once'
        ),
    ]
