"""What a ledger row is for, so that it is there once, and what it takes back.

Locks: ACCESS EXCLUSIVE on PointTransaction, for an instant: no defaults, no rewrite; reading and writing wait.
Safe with the code before it: yes, the columns are nullable. Way back: drops them.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gamification", "0005_points_triggers")]
    operations = [
        migrations.AddField(
            model_name="pointtransaction",
            name="idempotency_key",
            # squawk: ignore prefer-text-field: no key is longer; a wider varchar would be no rewrite, either
            field=models.CharField(
                blank=True, db_column="idempotencyKey", editable=False, max_length=200, null=True
            ),
        ),
        migrations.AddField(
            model_name="pointtransaction",
            name="reverses",
            field=models.ForeignKey(
                blank=True,
                db_column="reversesId",
                db_constraint=False,
                db_index=False,
                null=True,
                on_delete=models.DO_NOTHING,
                related_name="reversals",
                to="gamification.pointtransaction",
            ),
        ),
    ]
