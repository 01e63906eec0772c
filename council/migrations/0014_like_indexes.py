"""The indexes for LIKE that Django gives its tables, in databases that were migrated when council.postgres left them out.

Locks: SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits. Where the indexes are there, as in
every database that begins after this, nothing is done.
Safe with the code before it: yes. Way back: leaves them, as Django's migrations make them.
"""

from django.conf import settings
from django.db import migrations

from council import zero_downtime


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("council", "0013_sign_in_failures_failed_at"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("sessions", "0001_initial"),
    ]
    operations = [
        zero_downtime.AddLikeIndexConcurrently(model=settings.AUTH_USER_MODEL, field="username"),
        zero_downtime.AddLikeIndexConcurrently(model="council.SignInFailures", field="key"),
        zero_downtime.AddLikeIndexConcurrently(model="auth.Group", field="name"),
        zero_downtime.AddLikeIndexConcurrently(model="sessions.Session", field="session_key"),
    ]
