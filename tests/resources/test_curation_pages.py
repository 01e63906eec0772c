"""The library's admin pages in a real browser: security policy, phone and desktop, and all steps for a file."""

from pathlib import Path
from typing import Any

import pytest

from council.accounts.models import Account
from resources.models import Resource, ResourceTag
from tests.browser import PHONE, Visitor
from tests.factories import AccountFactory, MemberFactory, ResourceDownloadFactory
from tests.resources.samples import pdf, picture

pytestmark = pytest.mark.any_server

RESOURCES = "/admin/resources/resource/"


@pytest.fixture
def staff(live: str) -> Account:
    return AccountFactory.create(is_staff=True, is_superuser=True)


def test_staff_add_replace_preview_and_delete_a_file(
    visitor: Visitor, staff: Account, tmp_path: Path
) -> None:
    (tmp_path / "playbook.pdf").write_bytes(pdf())
    (tmp_path / "playbook-2.pdf").write_bytes(pdf(b"new"))
    (tmp_path / "wrong.pdf").write_bytes(b"MZ" + b"\0" * 300)
    (tmp_path / "cover.png").write_bytes(picture("PNG"))
    ResourceTag.objects.get_or_create(name="Cold calls", slug="cold-calls")
    visitor.sign_in(staff)
    visitor.open(f"{RESOURCES}add/")
    page: Any = visitor.page
    page.get_by_label("Title").fill("Cold email playbook")
    page.get_by_label("Description").fill("How to write\nthem")
    page.get_by_label("Category").select_option("COLD_EMAIL")
    page.get_by_label("Type").select_option("PLAYBOOK")
    page.get_by_label("Cold calls").check()
    page.locator("#id_file").set_input_files(str(tmp_path / "wrong.pdf"))
    visitor.picture("staff-resource-add")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("This kind of file is not accepted: Windows Executable").wait_for()
    visitor.picture("staff-resource-fault")
    assert page.get_by_label("Title").input_value() == "Cold email playbook"
    assert page.get_by_label("Cold calls").is_checked()
    page.locator("#id_file").set_input_files(str(tmp_path / "playbook.pdf"))
    page.locator("#id_thumbnail").set_input_files(str(tmp_path / "cover.png"))
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_text("was added successfully").wait_for()
    visitor.picture("staff-resource")
    resource = Resource.objects.get(title="Cold email playbook", file_name="playbook.pdf")

    page.get_by_role("link", name="Replace the file").click()
    page.get_by_label("What is new").fill("Better numbers")
    page.locator("#id_file").set_input_files(str(tmp_path / "playbook-2.pdf"))
    visitor.picture("staff-replace")
    page.get_by_role("button", name="Replace").click()
    page.get_by_text("Members now get version 2").wait_for()

    page.get_by_role("link", name="Versions").click()
    page.get_by_text("Members get this one").wait_for()
    visitor.resize(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    visitor.picture("staff-versions")
    with page.expect_download() as download:
        page.get_by_role("link", name="playbook-2.pdf").click()
    assert Path(str(download.value.path())).read_bytes() == pdf(b"new")

    visitor.open(f"{RESOURCES}{resource.pk}/preview/")
    page.get_by_text("This is a preview").wait_for()
    visitor.inspect("staff-preview")
    visitor.open(f"{RESOURCES}{resource.pk}/removal/")
    visitor.picture("staff-removal")
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("Deleted. You can restore it here.").wait_for()


def test_staff_look_at_the_list_and_merge_tags(visitor: Visitor, staff: Account) -> None:
    for name in ("Outbound", "Outbound sales"):
        ResourceTag.objects.get_or_create(name=name, slug=name.lower().replace(" ", "-"))
    for _ in range(3):
        ResourceDownloadFactory.create(member=MemberFactory.create())
    visitor.sign_in(staff)
    visitor.open(RESOURCES)
    visitor.picture("staff-resources")
    visitor.open("/admin/resources/resourcetag/?q=outbound")
    visitor.page.locator("#action-toggle").check()
    visitor.page.locator("select[name=action]").select_option("merge")
    visitor.page.get_by_role("button", name="Go").click()
    visitor.page.get_by_label("Outbound sales").check()
    visitor.picture("staff-merge-tags")
    visitor.page.get_by_role("button", name="Merge").click()
    visitor.page.get_by_text("Merged into Outbound sales").wait_for()
    visitor.open("/admin/resources/resourcesearchmiss/")
    visitor.picture("staff-searches")
