"""The rows that were there before the keys obey them, too.

Locks: SHARE UPDATE EXCLUSIVE on ResourceTagging and ResourceVersion, ROW SHARE on the keys' parents;
nothing waits.
Safe with the code before it: yes.
Way back: nothing to undo.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("resources", "0007_library_fks_not_valid")]
    operations = [
        zero_downtime.ValidateConstraint(
            model_name="resourcetagging",
            name="ResourceTagging_resourceId_fkey",
        ),
        zero_downtime.ValidateConstraint(
            model_name="resourcetagging",
            name="ResourceTagging_tagId_fkey",
        ),
        zero_downtime.ValidateConstraint(
            model_name="resourceversion",
            name="ResourceVersion_resourceId_fkey",
        ),
    ]
