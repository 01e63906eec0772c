"""Only staff with the right permissions may curate, and each permission is needed."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from council import roles
from council.accounts.models import Account
from council.models import Admin, AdminRole, Member
from resources.models import Resource, ResourceTag
from tests.factories import AccountFactory, AdminFactory
from tests.resources.curating import RESOURCES, TAGS, FillIn, replace, sent
from tests.resources.samples import pdf

pytestmark = pytest.mark.any_server

PAGES = [
    "",
    "{}/change/",
    "{}/versions/",
    "{}/preview/",
    "{}/versions/1/file/",
    "{}/replace/",
    "{}/removal/",
    "add/",
]


@pytest.fixture
def ada(db: None) -> Client:
    """Staff of the gateway with only the role ADMIN."""
    account = AccountFactory.create(admin=AdminFactory.create())
    roles.assign(account, AdminRole.ADMIN)
    browser = Client()
    browser.force_login(Account.objects.get(pk=account.pk), backend="council.auth.StaffBackend")
    return browser


def test_admins_curate_and_other_staff_do_not(
    folder: Path, ada: Client, noras_browser: Client, mia: Member, playbook: Resource, fill_in: FillIn
) -> None:
    member = Client()
    member.force_login(AccountFactory.create(member=mia))
    for path in PAGES:
        address = RESOURCES + path.format(playbook.pk)
        shown: Any = ada.get(address)
        assert shown.status_code == 200, address
        if shown.streaming:
            assert b"".join(shown.streaming_content) == pdf()
        assert noras_browser.get(address).status_code == 403, address
        assert member.get(address).status_code == 302, address
        assert Client().get(address).status_code == 302, address
    for page in (
        TAGS,
        f"{TAGS}add/",
        "/admin/resources/resourcesearchmiss/",
        "/admin/resources/resourcedownload/",
    ):
        assert ada.get(page).status_code == 200
        assert noras_browser.get(page).status_code == 403
    assert replace(ada, fill_in, playbook, file=sent(content=pdf(b"by ada"))).status_code == 302
    admin = Admin.objects.get()
    assert Resource.objects.get().uploaded_by == admin.pk
    for page, tag in (("change/", 'div class="readonly"'), ("versions/", "td")):
        assert f"<{tag}>{admin.email}</" in ada.get(f"{RESOURCES}{playbook.pk}/{page}").content.decode()
    history = ada.get(f"{RESOURCES}{playbook.pk}/history/", follow=True).content.decode()
    assert "RESOURCE_REPLACED" in history
    assert "RESOURCE_ADDED" in history
    for path in ("removal/", "versions/1/purge/", "replace/"):
        assert noras_browser.post(f"{RESOURCES}{playbook.pk}/{path}").status_code == 403


def test_staff_with_only_view_permission_can_change_nothing(folder: Path, playbook: Resource) -> None:
    reader = Client()
    reader.force_login(AccountFactory.create(is_staff=True, permissions=["resources.view_resource"]))
    page = reader.get(f"{RESOURCES}{playbook.pk}/change/")
    assert page.status_code == 200
    assert "Replace the file" not in page.content.decode()
    assert reader.post(f"{RESOURCES}{playbook.pk}/change/", {"title": "x"}).status_code == 403
    for path in ("replace/", "removal/", "versions/1/purge/"):
        assert reader.get(f"{RESOURCES}{playbook.pk}/{path}").status_code == 403
    for action in ("publish", "delete"):
        reader.post(RESOURCES, {"action": action, "_selected_action": [playbook.pk]})
    assert Resource.objects.get().deleted_at is None


@pytest.mark.parametrize(
    "path", ["{}/replace/", "{}/versions/", "{}/preview/", "{}/removal/", "{}/versions/9/file/"]
)
def test_pages_of_an_unknown_resource_are_not_found(path: str, sams_browser: Client) -> None:
    assert sams_browser.get(RESOURCES + path.format("nothing")).status_code == 404


# For each permission, what staff cannot do if only this one is missing.
NEEDED_FOR = {
    "add_resource": ("GET", "resource/add/"),
    "add_resourcetag": ("GET", "resourcetag/add/"),
    "change_resource": ("GET", "resource/{resource}/replace/"),
    "change_resourcetag": ("POST", "resourcetag/{tag}/change/"),
    "delete_resource": ("GET", "resource/{resource}/removal/"),
    "delete_resourcetag": ("GET", "resourcetag/{tag}/delete/"),
    "view_resource": ("GET", "resource/{resource}/versions/"),
    "view_resourcedownload": ("GET", "resourcedownload/"),
    "view_resourcesearchmiss": ("GET", "resourcesearchmiss/"),
}


@pytest.mark.parametrize("role", [AdminRole.ADMIN, AdminRole.SUPER_ADMIN])
def test_a_role_has_exactly_the_permissions_for_curation(role: AdminRole) -> None:
    given = {name for name in roles.PERMISSIONS[role] if name.startswith("resources.")}
    # Django shows tags to all who may change them, but a role must name each page that it sees.
    assert given == {f"resources.{codename}" for codename in [*NEEDED_FOR, "view_resourcetag"]}


@pytest.mark.parametrize("codename", NEEDED_FOR)
def test_each_permission_is_needed(codename: str, ada: Client, playbook: Resource) -> None:
    method, path = NEEDED_FOR[codename]
    tag = ResourceTag.objects.create(name="Pricing", slug="pricing")
    address = f"/admin/resources/{path.format(resource=playbook.pk, tag=tag.pk)}"
    assert ada.generic(method, address).status_code == 200
    Group.objects.get(name=roles.GROUPS[AdminRole.ADMIN]).permissions.get(codename=codename).group_set.clear()
    assert ada.generic(method, address).status_code == 403
