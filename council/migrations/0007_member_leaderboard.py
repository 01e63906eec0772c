"""What leaderboards need to know of a member: this month's points, and whether they want to be listed.

Locks: ACCESS EXCLUSIVE on Member, for an instant: constant defaults, no rewrite; reading and writing wait.
Safe with the code before it: yes, the columns have defaults. Way back: drops them; who opted out is forgotten.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("council", "0006_member_points_index")]
    operations = [
        migrations.AddField(
            model_name="member",
            name="month_points",
            field=models.IntegerField(db_column="monthPoints", db_default=0, editable=False),
        ),
        migrations.AddField(
            model_name="member",
            name="points_month",
            field=models.DateField(db_column="pointsMonth", editable=False, null=True),
        ),
        migrations.AddField(
            model_name="member",
            name="leaderboard_visible",
            field=models.BooleanField(
                db_column="leaderboardVisible", db_default=True, verbose_name="listed on leaderboards"
            ),
        ),
    ]
