"""The rows that were there before the key of reversals.

Locks: SHARE UPDATE EXCLUSIVE and ROW SHARE on PointTransaction while it is read; nothing waits.
Safe with the code before it: yes. Way back: nothing to do.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("gamification", "0008_reversal_fk_not_valid")]
    operations = [
        zero_downtime.ValidateConstraint(
            model_name="pointtransaction", name="PointTransaction_reversesId_fkey"
        ),
    ]
