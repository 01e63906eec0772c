"""New columns: council_account.session_generation.

Locks: ACCESS EXCLUSIVE on council_account, for an instant: no rewrite; reading and writing wait.
Safe with the code before it: yes, they are nullable or have a default in the database.
Way back: drops them, values and all.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0006_account_session")]
    operations = [
        migrations.AddField(
            model_name="account",
            name="session_generation",
            field=models.IntegerField(db_default=0, editable=False),
        ),
    ]
