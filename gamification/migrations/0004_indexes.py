"""The ledger by action, time and member; Discord activity by person and time.

Locks: SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits.
Safe with the code before it: yes. Way back: drops the indexes concurrently.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("gamification", "0003_validate_fks")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="pointtransaction",
            index=indexes.Index(fields=["action"], name="PointTransaction_action_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="pointtransaction",
            index=indexes.Index(fields=["created_at"], name="PointTransaction_createdAt_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="pointtransaction",
            index=indexes.Index(fields=["member"], name="PointTransaction_memberId_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="discordactivity",
            index=indexes.Index(fields=["discord_id"], name="DiscordActivity_discordId_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="discordactivity",
            index=indexes.Index(fields=["member"], name="DiscordActivity_memberId_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="discordactivity",
            index=indexes.Index(fields=["synced_at"], name="DiscordActivity_syncedAt_idx"),
        ),
    ]
