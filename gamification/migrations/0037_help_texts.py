"""New help texts of PointRule.points and PointTransaction.isMisdated, which only Django stores.

Locks: none.
Safe with the code before it: yes, nothing changes in the database.
Way back: nothing to undo.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("gamification", "0036_introduction_triggers")]
    operations = [
        migrations.AlterField(
            model_name="pointrule",
            name="points",
            field=models.IntegerField(help_text="For doing it once. For Discord activity: for each 100 XP."),
        ),
        migrations.AlterField(
            model_name="pointtransaction",
            name="is_misdated",
            field=models.BooleanField(
                db_column="isMisdated",
                db_default=False,
                editable=False,
                help_text="From before the database refused such rows. It counts in the total, but in no month or streak.",
                verbose_name="dated in the future",
            ),
        ),
    ]
