"""The content type of accounts, which permissions and the admin's log refer to, belongs to this app.

Accounts belonged to the app `council` before. On a database from that time the row is there, and changes its label.
Where a newer one was made meanwhile, what refers to that one is moved to the older one first.
Locks: ROW EXCLUSIVE on Django's tables, for a few rows. Safe with the code before it: yes, that grants the rights of
accounts again at the next sign-in. Way back: the label is `council` again.
"""

from typing import Any

from django.db import migrations

MODEL = "account"


def adopt(apps: Any, schema_editor: Any) -> None:
    move(apps, using=schema_editor.connection.alias, before="council", after="accounts")


def give_back(apps: Any, schema_editor: Any) -> None:
    move(apps, using=schema_editor.connection.alias, before="accounts", after="council")


def move(apps: Any, *, using: str, before: str, after: str) -> None:
    content_types = apps.get_model("contenttypes", "ContentType").objects.using(using)
    older = content_types.filter(app_label=before, model=MODEL).first()
    if older is None:
        return
    newer = content_types.filter(app_label=after, model=MODEL).first()
    if newer:
        apps.get_model("admin", "LogEntry").objects.using(using).filter(content_type_id=newer.pk).update(
            content_type_id=older.pk
        )
        move_permissions(apps.get_model("auth", "Permission").objects.using(using), newer=newer, older=older)
        newer.delete()
    older.app_label = after
    older.save()


def move_permissions(permissions: Any, *, newer: Any, older: Any) -> None:
    """Give whoever has a permission of the newer content type the one with that name of the older."""
    for permission in permissions.filter(content_type_id=newer.pk):
        same = permissions.filter(content_type_id=older.pk, codename=permission.codename).first()
        if same is None:
            permission.content_type_id = older.pk
            permission.save()
            continue
        same.group_set.add(*permission.group_set.all())
        same.user_set.add(*permission.user_set.all())
        permission.delete()


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_member_accounts_are_no_staff"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    accepts = {
        "unknown-operation": "It reads and changes a few rows of Django's own tables, which only this application uses."
    }
    operations = [migrations.RunPython(adopt, give_back)]
