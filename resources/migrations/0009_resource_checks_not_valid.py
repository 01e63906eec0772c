"""A scheduled resource has a time, and a stored file has all of its facts: for new and changed rows.

Locks: ACCESS EXCLUSIVE on Resource, for an instant; reading and writing wait.
Safe with the code before it: yes, it writes none of these columns.
Way back: drops the checks.
"""

from django.db import migrations, models

from council import zero_downtime


class Migration(migrations.Migration):
    accepts = {
        "unchecked-rows": "0006 added all of the columns but the id, and gave every row the status PUBLISHED and no "
        "other value: no row breaks the checks.",
    }
    dependencies = [("resources", "0008_validate_library_fks")]
    operations = [
        zero_downtime.AddCheckNotValid(
            model_name="resource",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "SCHEDULED"), _negated=True),
                    ("publish_at__isnull", False),
                    _connector="OR",
                ),
                name="Resource_publishAt_check",
                violation_error_message="A scheduled resource needs the time at which it is published.",
            ),
        ),
        zero_downtime.AddCheckNotValid(
            model_name="resource",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("current_version__isnull", True),
                        ("file_name__isnull", True),
                        ("file_size__isnull", True),
                        ("mime_type__isnull", True),
                        ("sha256__isnull", True),
                        ("storage_path__isnull", True),
                    ),
                    models.Q(
                        ("current_version__gt", 0),
                        ("file_name__isnull", False),
                        ("file_size__gt", 0),
                        ("mime_type__isnull", False),
                        ("sha256__isnull", False),
                        ("storage_path__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="Resource_file_check",
                violation_error_message="A stored file has a path, name, size, media type, SHA-256 and version.",
            ),
        ),
    ]
