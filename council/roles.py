"""The permissions of each role of the gateway's staff: two groups, one per role.

This rule is defined only here. Every sign-in restores the groups if somebody changed them by hand.
"""

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

from council.accounts.models import Account
from council.models import AdminRole

GROUPS = {AdminRole.ADMIN: "Admins", AdminRole.SUPER_ADMIN: "Super admins"}

_ADMIN = {
    "benchmarks.add_benchmarkreview",
    "benchmarks.view_benchmarkreview",
    "council.view_auditlog",
    "council.view_figuretable",
    "council.view_jobrun",
    "council.view_member",
    "council.view_team",
    "gamification.add_pointtransaction",
    "gamification.view_discordactivity",
    "gamification.view_pointtransaction",
    "resources.add_resource",
    "resources.add_resourcetag",
    "resources.change_resource",
    "resources.change_resourcetag",
    "resources.delete_resource",  # allows removing it, restoring it and purging old versions
    "resources.delete_resourcetag",
    "resources.view_resource",
    "resources.view_resourcedownload",
    "resources.view_resourcesearchmiss",
    "resources.view_resourcetag",
}
_SUPER_ADMIN = _ADMIN | {
    "accounts.change_account",
    "accounts.view_account",
    "council.add_emailtemplate",
    "council.add_featureflag",
    "council.change_emailtemplate",
    "council.change_featureflag",
    "council.view_admin",
    "council.view_emailtemplate",
    "council.view_featureflag",
    "council.view_pendinginvite",
    "council.view_reconciliationrun",
    "council.view_stripeevent",
    "gamification.change_pointrule",
    "gamification.view_pointrule",
}
# Names as `app.codename`, because council must not import the apps above it.
PERMISSIONS = {AdminRole.ADMIN: _ADMIN, AdminRole.SUPER_ADMIN: _SUPER_ADMIN}


def assign(account: Account, role: AdminRole) -> None:
    """Make the account staff, put it in the role's group, and set the group's permissions. Keep its other groups.

    Permissions that do not exist are skipped, such as those of an app that is not migrated yet.
    """
    if not account.is_staff or account.is_superuser:
        account.is_staff, account.is_superuser = True, False
        account.save(update_fields=["is_staff", "is_superuser"])
    group, _ = Group.objects.get_or_create(name=GROUPS[role])
    group.permissions.set(_permissions(PERMISSIONS[role]))
    account.groups.add(group)
    account.groups.remove(*Group.objects.filter(name__in=GROUPS.values()).exclude(pk=group.pk))


def _permissions(names: set[str]) -> list[Permission]:
    wanted = Q()
    for name in names:
        app_label, codename = name.split(".")
        wanted |= Q(content_type__app_label=app_label, codename=codename)
    return list(Permission.objects.filter(wanted))
