"""An account's member and admin are there, or go.

Locks: SHARE ROW EXCLUSIVE on council_account, Member and Admin, for an instant; writing waits.
Safe with the code before it: yes. Way back: drops the keys.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import constraints


class Migration(migrations.Migration):
    replaces = [("council", "0003_account_fks_not_valid")]
    accepts = {"deadlock": "Rows of Admin hardly ever change, and migrate begins anew if one just does."}
    dependencies = [("accounts", "0001_account")]
    operations = [
        zero_downtime.AddForeignKeyNotValid(
            model_name="account",
            constraint=constraints.ForeignKeyConstraint(
                field="member",
                name="council_account_member_id_fkey",
                on_delete="SET NULL",
                on_update="CASCADE",
            ),
        ),
        zero_downtime.AddForeignKeyNotValid(
            model_name="account",
            constraint=constraints.ForeignKeyConstraint(
                field="admin", name="council_account_admin_id_fkey", on_delete="SET NULL", on_update="CASCADE"
            ),
        ),
    ]
