"""A member's account is never staff: a constraint on the accounts.

Locks: ACCESS EXCLUSIVE on council_account, which only this application uses, for a scan of one row a person.
Safe with the code before it: yes, that makes no such rows; one made by hand stops the migration.
Way back: drops the constraint.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    replaces = [("council", "0009_member_accounts_are_no_staff")]
    dependencies = [("accounts", "0003_validate_fks")]
    accepts = {
        "scan-under-lock": "Only this application uses the table, for sign-in, and it has a row a person."
    }
    operations = [
        # squawk: ignore constraint-missing-not-valid: a row a person, read in an instant; only this application waits
        migrations.AddConstraint(
            model_name="account",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("member__isnull", True),
                    models.Q(("is_staff", False), ("is_superuser", False)),
                    _connector="OR",
                ),
                name="council_account_member_is_no_staff",
                violation_error_message="A member's account is never staff. Staff have an account of their own.",
            ),
        ),
    ]
