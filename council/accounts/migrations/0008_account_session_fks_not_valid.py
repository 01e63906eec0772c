"""Foreign keys, for new and changed rows: council_accountsession_account_id_fkey.

Locks: SHARE ROW EXCLUSIVE on council_accountsession and council_account, for an instant; writing waits.
Safe with the code before it: yes, unless it writes rows whose parent is not there.
Way back: puts back what was there before, an instant of ACCESS EXCLUSIVE on both sides.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import constraints


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_account_session_generation")]
    operations = [
        zero_downtime.AddForeignKeyNotValid(
            model_name="accountsession",
            constraint=constraints.ForeignKeyConstraint(
                field="account",
                name="council_accountsession_account_id_fkey",
                on_delete="CASCADE",
                on_update="CASCADE",
            ),
        ),
    ]
