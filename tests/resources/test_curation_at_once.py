"""Changes by staff while another session changes the same rows: which waits, and what it finds afterwards."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from council import audit
from council.accounts.models import Account
from council.models import AuditLog
from resources import curation, library
from resources.models import Resource, ResourceTag
from resources.refusal import Refused
from resources.storage import Stored
from resources.uploads import Received
from tests.databases import Database
from tests.factories import AccountFactory, ResourceDownloadFactory, ResourceFactory, ResourceTagFactory

FILED = {
    "storage_path": "files/1.pdf",
    "file_name": "plan.pdf",
    "file_size": 3,
    "mime_type": "application/pdf",
    "sha256": "0" * 64,
    "current_version": 1,
}
FILE = Received(Stored("files/2.pdf", 3, "f" * 64), "plan.pdf", "application/pdf")


@pytest.fixture
def committing(migrated: Database, django_db_blocker: Any) -> Iterator[Database]:
    with django_db_blocker.unblock(), migrated.as_default_connection():
        yield migrated


@pytest.fixture
def sam(committing: Database) -> Account:
    return AccountFactory.create(is_staff=True)


@pytest.fixture
def resource(committing: Database) -> Resource:
    return ResourceFactory.create(**FILED)


def in_a_thread(act: Callable[[], Any]) -> Any:
    try:
        return act()
    finally:
        connection.close()


def meanwhile(committing: Database, change: str, act: Callable[[], Any]) -> Any:
    """Call a function while another session has an uncommitted change, which it commits once the call waits for it."""
    with committing.connect() as first, ThreadPoolExecutor(1) as pool:
        with first.transaction():
            first.execute(change.encode())
            second = pool.submit(in_a_thread, act)
            committing.wait_for_waiting(1)
        return second.result(timeout=30)


def test_replacing_a_file_that_was_just_replaced_is_a_conflict(
    committing: Database, resource: Resource, sam: Account
) -> None:
    with pytest.raises(curation.Conflict):
        meanwhile(
            committing,
            'UPDATE "Resource" SET "currentVersion" = 2',
            lambda: curation.replace(resource_id=resource.pk, file=FILE, note="", expected_version=1, by=sam),
        )


@pytest.fixture
def downloading(committing: Database) -> Iterator[None]:
    """An uncommitted download of all resources by a member."""
    with committing.connect() as member, member.transaction(force_rollback=True):
        member.execute('SELECT FROM "Resource" FOR KEY SHARE')  # like the foreign key of a download
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
        yield


def test_members_can_download_while_a_file_is_replaced(
    resource: Resource, sam: Account, downloading: None
) -> None:
    curation.replace(resource_id=resource.pk, file=FILE, note="", expected_version=1, by=sam)


def test_members_can_download_while_a_resource_is_featured(
    resource: Resource, sam: Account, downloading: None
) -> None:
    assert curation.feature(resource_ids=[resource.pk], is_featured=True, by=sam) == 1


def test_many_resources_are_locked_in_the_order_of_their_ids(committing: Database, sam: Account) -> None:
    ids = sorted(ResourceFactory.create().pk for _ in range(2))
    with committing.connect() as first, ThreadPoolExecutor(1) as pool:
        with first.transaction():
            lock = 'SELECT FROM "Resource" WHERE id = %s FOR UPDATE'
            first.execute(lock, [ids[0]])
            second = pool.submit(
                in_a_thread, lambda: curation.feature(resource_ids=ids[::-1], is_featured=True, by=sam)
            )
            committing.wait_for_waiting(1)
            first.execute("SET LOCAL lock_timeout = '1s'")
            first.execute(lock, [ids[1]])  # which the second has not locked yet
        assert second.result(timeout=30) == 2


def test_a_resource_that_was_just_featured_is_not_changed_again(
    committing: Database, resource: Resource, sam: Account
) -> None:
    assert not meanwhile(
        committing,
        'UPDATE "Resource" SET "isFeatured" = true',
        lambda: curation.feature(resource_ids=[resource.pk], is_featured=True, by=sam),
    )
    assert not AuditLog.objects.exists()


def test_a_tag_that_was_just_deleted_cannot_be_merged(committing: Database, sam: Account) -> None:
    tags = [ResourceTagFactory.create() for _ in range(2)]
    with pytest.raises(Refused, match="no longer exists"):
        meanwhile(
            committing,
            f"""DELETE FROM "ResourceTag" WHERE id = '{tags[1].pk}'""",
            lambda: curation.merge_tags(tag_ids=[tag.pk for tag in tags], into_id=tags[0].pk, by=sam),
        )


def test_the_audit_log_has_the_value_before_the_change_even_if_it_just_changed(
    committing: Database, sam: Account
) -> None:
    tag = ResourceTagFactory.create(name="Calls")

    def rename() -> None:
        with audit.changes_of(ResourceTag.objects.filter(pk=tag.pk), by=sam):
            ResourceTag.objects.filter(pk=tag.pk).update(name="Cold calls")

    meanwhile(committing, """UPDATE "ResourceTag" SET name = 'Phone'""", rename)
    assert AuditLog.objects.get().details == {"name": {"from": "Phone", "to": "Cold calls"}}


def test_counting_downloads_skips_a_locked_resource(committing: Database) -> None:
    locked = ResourceDownloadFactory.create().resource
    ResourceDownloadFactory.create()
    with committing.connect() as other, other.transaction(force_rollback=True):
        other.execute('SELECT FROM "Resource" WHERE id = %s FOR UPDATE', [locked.pk])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
        assert library.refresh() == 1
