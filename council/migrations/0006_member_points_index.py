"""Members by points, for the leaderboard.

Locks: SHARE UPDATE EXCLUSIVE on Member while it is built; nothing waits.
Safe with the code before it: yes. Way back: drops the index concurrently.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("council", "0005_member_points")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="member",
            index=indexes.Index(fields=["-total_points"], name="Member_totalPoints_idx"),
        ),
    ]
