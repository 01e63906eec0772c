"""Indexes: council_accountsession_account_id_idx.

Locks: SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits.
Safe with the code before it: yes.
Way back: drops the indexes concurrently.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "0009_validate_account_session_fks")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="accountsession",
            index=indexes.Index(fields=["account"], name="council_accountsession_account_id_idx"),
        ),
    ]
