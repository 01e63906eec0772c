"""The index for LIKE on the rules' actions, in databases that were migrated when council.postgres left it out.

Locks: SHARE UPDATE EXCLUSIVE on PointRule while it is built; nothing waits. Where it is there, nothing is done.
Safe with the code before it: yes. Way back: leaves it, as the migration that makes the table makes it, too.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("gamification", "0020_pay_introductions")]
    operations = [zero_downtime.AddLikeIndexConcurrently(model="gamification.PointRule", field="action")]
