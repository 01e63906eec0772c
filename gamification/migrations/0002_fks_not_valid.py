"""Points and activity belong to a member, and go with them.

Locks: SHARE ROW EXCLUSIVE on the new tables and on Member, for an instant; writing waits.
Safe with the code before it: yes. Way back: drops the keys, an instant of ACCESS EXCLUSIVE on both sides.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import constraints


class Migration(migrations.Migration):
    dependencies = [("gamification", "0001_initial")]
    operations = [
        zero_downtime.AddForeignKeyNotValid(
            model_name="pointtransaction",
            constraint=constraints.ForeignKeyConstraint(
                field="member",
                name="PointTransaction_memberId_fkey",
                on_delete="CASCADE",
                on_update="CASCADE",
            ),
        ),
        zero_downtime.AddForeignKeyNotValid(
            model_name="discordactivity",
            constraint=constraints.ForeignKeyConstraint(
                field="member", name="DiscordActivity_memberId_fkey", on_delete="CASCADE", on_update="CASCADE"
            ),
        ),
    ]
