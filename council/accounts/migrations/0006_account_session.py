"""New tables: council_accountsession.

Locks: none, the tables are new.
Safe with the code before it: yes, nothing else knows them.
Way back: drops the tables, rows and all.
"""

from django.conf import settings
from django.db import migrations, models

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_content_type")]
    operations = [
        migrations.CreateModel(
            name="AccountSession",
            fields=[
                # squawk: ignore prefer-text-field: Django's own length of a key, and a name that is cut
                ("session_key", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("browser", models.CharField(max_length=80)),
                ("began_at", models.DateTimeField(auto_now_add=True)),
                (
                    "account",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.DO_NOTHING,
                        related_name="sessions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "db_table": "council_accountsession",
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="accountsession",
        ),
    ]
