"""A reversal names a row that is there: from now on; the rows that are there come next.

Locks: SHARE ROW EXCLUSIVE on PointTransaction, for an instant; writing waits.
Safe with the code before it: yes, nobody writes the column yet. Way back: drops the key.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import constraints


class Migration(migrations.Migration):
    dependencies = [("gamification", "0007_point_rules")]
    operations = [
        zero_downtime.AddForeignKeyNotValid(
            model_name="pointtransaction",
            constraint=constraints.ForeignKeyConstraint(
                name="PointTransaction_reversesId_fkey",
                field="reverses",
                on_delete="NO ACTION",
                on_update="NO ACTION",
            ),
        ),
    ]
