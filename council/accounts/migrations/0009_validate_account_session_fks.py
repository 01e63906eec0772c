"""The rows that were there before the keys obey them, too: council_accountsession_account_id_fkey.

Locks: SHARE UPDATE EXCLUSIVE on council_accountsession, ROW SHARE on the keys' parents; nothing waits.
Safe with the code before it: yes.
Way back: nothing to undo.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_account_session_fks_not_valid")]
    operations = [
        zero_downtime.ValidateConstraint(
            model_name="accountsession",
            name="council_accountsession_account_id_fkey",
        ),
    ]
