"""New columns: council_signinfailures.failed_at.

Locks: ACCESS EXCLUSIVE on council_signinfailures, for an instant: no rewrite; reading and writing wait.
Safe with the code before it: yes, they are nullable or have a default in the database.
Way back: drops them, values and all.
"""

import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("council", "0012_job_run_indexes")]
    operations = [
        migrations.AddField(
            model_name="signinfailures",
            name="failed_at",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.DateTimeField(), db_default=[], size=None
            ),
        ),
    ]
