"""A tag or a version belongs to a resource and goes with it; a tag in use stays.

Locks: SHARE ROW EXCLUSIVE on ResourceTagging, Resource, ResourceTag and ResourceVersion, for an instant;
writing waits.
Safe with the code before it: yes, unless it writes rows whose parent is not there.
Way back: puts back what was there before, an instant of ACCESS EXCLUSIVE on both sides.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import constraints


class Migration(migrations.Migration):
    dependencies = [("resources", "0006_resource_columns")]
    operations = [
        zero_downtime.AddForeignKeyNotValid(
            model_name="resourcetagging",
            constraint=constraints.ForeignKeyConstraint(
                field="resource",
                name="ResourceTagging_resourceId_fkey",
                on_delete="CASCADE",
                on_update="CASCADE",
            ),
        ),
        zero_downtime.AddForeignKeyNotValid(
            model_name="resourcetagging",
            constraint=constraints.ForeignKeyConstraint(
                field="tag", name="ResourceTagging_tagId_fkey", on_delete="RESTRICT", on_update="CASCADE"
            ),
        ),
        zero_downtime.AddForeignKeyNotValid(
            model_name="resourceversion",
            constraint=constraints.ForeignKeyConstraint(
                field="resource",
                name="ResourceVersion_resourceId_fkey",
                on_delete="CASCADE",
                on_update="CASCADE",
            ),
        ),
    ]
