"""The accounts that were there before their keys obey them, too.

Locks: SHARE UPDATE EXCLUSIVE on council_account, ROW SHARE on Member and Admin; nothing waits.
Safe with the code before it: yes. Way back: nothing to undo.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    replaces = [("council", "0004_validate_account_fks")]
    dependencies = [("accounts", "0002_fks_not_valid")]
    operations = [
        zero_downtime.ValidateConstraint(
            model_name="account",
            name="council_account_member_id_fkey",
        ),
        zero_downtime.ValidateConstraint(
            model_name="account",
            name="council_account_admin_id_fkey",
        ),
    ]
