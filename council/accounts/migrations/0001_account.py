"""The accounts that sign in to this application: AUTH_USER_MODEL.

Locks: none, the table is new. Safe with the code before it: yes, nothing else knows it. Way back: drops the
accounts.
"""

from django.db import migrations, models

from council import zero_downtime


class Migration(migrations.Migration):
    dependencies = [("auth", "0012_alter_user_first_name_max_length"), ("council", "0001_baseline")]
    accepts = {
        "deadlock": "Only this application uses groups and permissions, whose tables the same run creates."
    }
    initial = True
    replaces = [("council", "0002_account")]
    operations = [
        migrations.CreateModel(
            name="Account",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                # squawk: ignore prefer-text-field: Django's own columns; only this application waits for this table
                ("password", models.CharField(max_length=128, verbose_name="password")),
                ("last_login", models.DateTimeField(blank=True, null=True, verbose_name="last login")),
                (
                    "is_superuser",
                    models.BooleanField(
                        default=False,
                        help_text="Designates that this user has all permissions without explicitly assigning them.",
                        verbose_name="superuser status",
                    ),
                ),
                ("username", models.CharField(max_length=150, unique=True)),
                (
                    "member",
                    models.OneToOneField(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=models.DO_NOTHING,
                        related_name="account",
                        to="council.member",
                    ),
                ),
                (
                    "admin",
                    models.OneToOneField(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=models.DO_NOTHING,
                        related_name="account",
                        to="council.admin",
                    ),
                ),
                ("is_staff", models.BooleanField(default=False, verbose_name="staff status")),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "groups",
                    models.ManyToManyField(
                        blank=True,
                        help_text="The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.group",
                        verbose_name="groups",
                    ),
                ),
                (
                    "user_permissions",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Specific permissions for this user.",
                        related_name="user_set",
                        related_query_name="user",
                        to="auth.permission",
                        verbose_name="user permissions",
                    ),
                ),
            ],
            options={
                "db_table": "council_account",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("member__isnull", True), ("admin__isnull", True), _connector="OR"
                        ),
                        name="council_account_member_or_admin",
                        violation_error_message="An account belongs to a member or to an admin, not to both.",
                    )
                ],
            },
        ),
        zero_downtime.EnableRowLevelSecurity(
            model_name="account",
        ),
    ]
