"""The two leaderboards as indexes: who is listed, in order.

Locks: SHARE UPDATE EXCLUSIVE on Member while they are built; nothing waits.
Safe with the code before it: yes. Way back: drops the indexes concurrently.
"""

from django.db import migrations, models

from council import zero_downtime
from council.postgres import indexes

LISTED = models.Q(("leaderboard_visible", True), ("subscription_status__in", ("TRIALING", "ACTIVE")))


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("council", "0007_member_leaderboard")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="member",
            index=indexes.Index(
                name="Member_leaderboard_idx",
                fields=["-total_points", "id"],
                condition=LISTED & models.Q(("total_points__gt", 0)),
            ),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="member",
            index=indexes.Index(
                name="Member_monthLeaderboard_idx",
                fields=["points_month", "-month_points", "id"],
                condition=LISTED & models.Q(("month_points__gt", 0)),
            ),
        ),
    ]
