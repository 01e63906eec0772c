"""Introductions, a proxy of Member: state only, so that gamification can have a trigger there.

Locks: none. Safe with the code before it: yes. Way back: forgets the proxy.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("council", "0012_job_run_indexes"),
        ("gamification", "0017_validate_discord_standing_fks"),
    ]
    operations = [
        migrations.CreateModel(
            name="Introduction",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("council.member",),
        ),
    ]
