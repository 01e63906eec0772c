"""The rows that were there before the keys obey them, too: DiscordStanding_memberId_fkey.

Locks: SHARE UPDATE EXCLUSIVE on DiscordStanding, ROW SHARE on the keys' parents; nothing waits.
Safe with the code before it: yes.
Way back: nothing to undo.
"""

from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("gamification", "0016_discord_standing_fks_not_valid")]
    operations = [
        zero_downtime.ValidateConstraint(
            model_name="discordstanding",
            name="DiscordStanding_memberId_fkey",
        ),
    ]
