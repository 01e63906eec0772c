"""Foreign keys, for new and changed rows: DiscordStanding_memberId_fkey.

Locks: SHARE ROW EXCLUSIVE on DiscordStanding and Member, for an instant; writing waits.
Safe with the code before it: yes, unless it writes rows whose parent is not there.
Way back: puts back what was there before, an instant of ACCESS EXCLUSIVE on both sides.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import constraints


class Migration(migrations.Migration):
    dependencies = [("gamification", "0015_discord_standing")]
    operations = [
        zero_downtime.AddForeignKeyNotValid(
            model_name="discordstanding",
            constraint=constraints.ForeignKeyConstraint(
                field="member", name="DiscordStanding_memberId_fkey", on_delete="CASCADE", on_update="CASCADE"
            ),
        ),
    ]
