"""When the visit to the home page began, and the one before: council_account.visited_at, visited_before_at.

Locks: ACCESS EXCLUSIVE on council_account, for an instant: no rewrite; reading and writing wait.
Safe with the code before it: yes, they are nullable or have a default in the database.
Way back: drops them, values and all.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0010_account_session_indexes")]
    operations = [
        migrations.AddField(
            model_name="account",
            name="visited_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="account",
            name="visited_before_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
