"""The rows that were there before the checks obey them, too.

Locks: SHARE UPDATE EXCLUSIVE on Resource while the rows are read; nothing waits.
Safe with the code before it: yes.
Way back: nothing to undo.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("resources", "0009_resource_checks_not_valid")]
    operations = [
        zero_downtime.ValidateConstraint(
            model_name="resource",
            name="Resource_publishAt_check",
        ),
        zero_downtime.ValidateConstraint(
            model_name="resource",
            name="Resource_file_check",
        ),
    ]
