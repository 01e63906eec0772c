"""Whether a row of the ledger was dated in the future before the database refused such dates.

Locks: ACCESS EXCLUSIVE on PointTransaction, for an instant: no rewrite; reading and writing wait.
Safe with the code before it: yes, they are nullable or have a default in the database.
Way back: drops them, values and all.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gamification", "0028_key_trigger_at_once")]
    operations = [
        migrations.AddField(
            model_name="pointtransaction",
            name="is_misdated",
            field=models.BooleanField(
                db_column="isMisdated",
                db_default=False,
                editable=False,
                help_text="Older than the rule that no row is: it counts in the total, and in no month, streak or activity.",
                verbose_name="dated in the future",
            ),
        ),
    ]
