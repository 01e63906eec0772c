"""One row to a key, one reversal to a row, and a member's history in order.

Locks: SHARE UPDATE EXCLUSIVE on PointTransaction while each is built; nothing waits.
Safe with the code before it: yes, nobody writes keys yet. Way back: drops the indexes concurrently.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("gamification", "0009_validate_reversal_fk")]
    operations = [
        zero_downtime.AddUniqueIndexConcurrently(
            model_name="pointtransaction",
            constraint=indexes.UniqueIndex(
                name="PointTransaction_idempotencyKey_key",
                fields=["idempotency_key"],
                condition=models.Q(("idempotency_key__isnull", False)),
            ),
        ),
        zero_downtime.AddUniqueIndexConcurrently(
            model_name="pointtransaction",
            constraint=indexes.UniqueIndex(
                name="PointTransaction_reversesId_key",
                fields=["reverses"],
                condition=models.Q(("reverses__isnull", False)),
            ),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="pointtransaction",
            index=indexes.Index(
                name="PointTransaction_memberId_createdAt_id_idx", fields=["member", "-created_at", "-id"]
            ),
        ),
    ]
