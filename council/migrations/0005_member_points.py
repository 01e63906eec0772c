"""The three columns of Member that the points ledger keeps.

Locks: ACCESS EXCLUSIVE on Member, for an instant: constant defaults, no rewrite; reading and writing wait.
Safe with the code before it: yes, the columns have defaults. Way back: drops them; the ledger can fill them
again.
"""

from django.db import migrations, models

from council.postgres import fields


class Migration(migrations.Migration):
    dependencies = [("council", "0001_baseline")]
    operations = [
        migrations.AddField(
            model_name="member",
            name="current_streak",
            field=models.IntegerField(db_column="currentStreak", db_default=0, editable=False),
        ),
        migrations.AddField(
            model_name="member",
            name="last_active_at",
            field=fields.TimestampField(db_column="lastActiveAt", editable=False, null=True),
        ),
        migrations.AddField(
            model_name="member",
            name="total_points",
            field=models.IntegerField(db_column="totalPoints", db_default=0, editable=False),
        ),
    ]
