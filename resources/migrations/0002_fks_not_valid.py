"""A download belongs to a member and a resource, and goes with either.

Locks: SHARE ROW EXCLUSIVE on the new tables and on Member, for an instant; writing waits.
Safe with the code before it: yes. Way back: drops the keys, an instant of ACCESS EXCLUSIVE on both sides.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import constraints


class Migration(migrations.Migration):
    dependencies = [("resources", "0001_initial")]
    operations = [
        zero_downtime.AddForeignKeyNotValid(
            model_name="resourcedownload",
            constraint=constraints.ForeignKeyConstraint(
                field="member",
                name="ResourceDownload_memberId_fkey",
                on_delete="CASCADE",
                on_update="CASCADE",
            ),
        ),
        zero_downtime.AddForeignKeyNotValid(
            model_name="resourcedownload",
            constraint=constraints.ForeignKeyConstraint(
                field="resource",
                name="ResourceDownload_resourceId_fkey",
                on_delete="CASCADE",
                on_update="CASCADE",
            ),
        ),
    ]
