"""When a member signed out, which the gateway's cookie respects: council_account.signed_out_at.

Locks: ACCESS EXCLUSIVE on council_account, for an instant: no rewrite; reading and writing wait.
Safe with the code before it: yes, they are nullable or have a default in the database.
Way back: drops them, values and all.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0011_account_visits")]
    operations = [
        migrations.AddField(
            model_name="account",
            name="signed_out_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
    ]
