"""Staff in the admin's pages of the library, and helpers to read these pages."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from council.models import AuditLog
from resources.models import Resource
from tests.resources.samples import SAMPLES, pdf

FillIn = Callable[..., dict[str, Any]]
RESOURCES = "/admin/resources/resource/"
TAGS = "/admin/resources/resourcetag/"
ADD = f"{RESOURCES}add/"


def sent(
    name: str = "plan.pdf", content: bytes | None = None, declared: str | None = None
) -> SimpleUploadedFile:
    sample, mime_type = SAMPLES.get(name, (pdf(), "application/pdf"))
    return SimpleUploadedFile(
        name, sample if content is None else content, mime_type if declared is None else declared
    )


def names(folder: Path) -> list[str]:
    return sorted(found.relative_to(folder).as_posix() for found in folder.rglob("*") if found.is_file())


def said(response: Any) -> list[str]:
    """List the faults that a page shows."""
    lists = re.findall(r'<ul class="errorlist[^>]*>(.*?)</ul>', response.content.decode(), re.DOTALL)
    return [
        unescape(re.sub(r"<[^>]*>", "", fault)).strip()
        for text in lists
        for fault in text.split("</li>")
        if fault.strip()
    ]


def details(action: str) -> dict[str, Any]:
    found = AuditLog.objects.get(action=action).details
    assert isinstance(found, dict)
    return found


def audited() -> list[str]:
    return list(AuditLog.objects.order_by("created_at", "pk").values_list("action", flat=True))


def replace(browser: Client, fill_in: FillIn, resource: Resource, **changes: Any) -> Any:
    page = f"{RESOURCES}{resource.pk}/replace/"
    return browser.post(page, fill_in(browser.get(page), **{"note": "Better numbers", **changes}))


@pytest.fixture
def entered(sams_browser: Client, fill_in: FillIn) -> Callable[..., dict[str, Any]]:
    """The form of a new resource, filled in."""

    def entered(**changes: Any) -> dict[str, Any]:
        form = fill_in(
            sams_browser.get(ADD),
            title="Cold email playbook",
            description="How to write them",
            category="COLD_EMAIL",
            type="PLAYBOOK",
            author="Rev Council",
            status="PUBLISHED",
        )
        form.pop("tag_list", None)
        return {**form, **changes}

    return entered


@pytest.fixture
def playbook(folder: Path, sams_browser: Client, entered: Callable[..., dict[str, Any]]) -> Resource:
    """A published resource with a file."""
    assert sams_browser.post(ADD, entered(file=sent())).status_code == 302
    return Resource.objects.get()
