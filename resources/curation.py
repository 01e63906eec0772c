"""Changes that staff make to the library. Each function locks the resource, changes it, and logs it in the audit log.

Locks are taken in the same order as by downloads: first the resource, then anything else.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import IntegrityError, connection, models, transaction
from django.utils.text import slugify

from council.accounts.models import Account
from council.models import AuditLog
from council.postgres.fields import TimestampField
from resources import storage
from resources.models import Resource, ResourceTag, ResourceTagging, ResourceVersion, Status
from resources.refusal import Refused
from resources.uploads import Received

MAX_NOTE_LENGTH = 500
# The fields of a resource whose changes go to the audit log.
TOLD = (
    "title", "description", "category", "type", "author", "file_url", "file_name", "file_size", "mime_type", "sha256",
    "current_version", "thumbnail_path", "status", "publish_at", "is_featured", "deleted_at", "tags",
)  # fmt: skip
# The clock's time, not the transaction's start. Read after the lock, so that all downloads before it got the old file.
CLOCK = models.Func(
    template="(clock_timestamp() AT TIME ZONE 'UTC')::timestamp(3)", output_field=TimestampField()
)


class Conflict(Refused):
    """Somebody else made a change in the meantime. The message says which."""


def create(
    *,
    resource: Resource,
    file: Received | None,
    thumbnail_path: str | None,
    tags: Iterable[ResourceTag],
    site: str,
    by: Account,
) -> None:
    """Add a resource: a file, or a link in `file_url`. `site` is the start of this site's URLs."""
    with transaction.atomic():
        if file:
            _use(resource, file, number=1, by=by)
            resource.file_url = f"{site}{resource.get_absolute_url()}"
        resource.uploaded_by = by.staff_id
        _use_thumbnail(resource, thumbnail_path, site=site)
        _time_of_publication(resource, was=Status.DRAFT)
        resource.save(force_insert=True)
        if file:
            _add_version(resource, file, note="", by=by)
        _tag(resource, tags)
        _log("RESOURCE_ADDED", resource, _differences({}, _values(resource)), by=by)


def change(
    *,
    resource: Resource,
    fields: Collection[str],
    thumbnail_path: str | None,
    is_thumbnail_removed: bool,
    tags: Iterable[ResourceTag] | None,
    site: str,
    by: Account,
) -> None:
    """Save these fields of a resource, its tags unless they are None, and its new thumbnail, if there is one."""
    with transaction.atomic():
        stored = _locked(resource.pk)
        before = _values(stored)
        names = {*fields} - {"tags"}
        for name in names:
            setattr(stored, name, getattr(resource, name))
        old_thumbnail = stored.thumbnail_path
        if thumbnail_path or is_thumbnail_removed:
            _use_thumbnail(stored, thumbnail_path, site=site)
            names |= {"thumbnail_path", "thumbnail_url"}
        if "status" in names:
            _time_of_publication(stored, was=before["status"])
            names.add("publish_at")
        stored.save(update_fields=[*names, "updated_at"])
        if tags is not None:
            _tag(stored, tags)
        if differences := _differences(before, _values(stored)):
            _log("RESOURCE_CHANGED", stored, differences, by=by)
        if old_thumbnail and old_thumbnail != stored.thumbnail_path:
            _remove_after_commit(old_thumbnail)
    resource.refresh_from_db()


def replace(
    *, resource_id: str, file: Received, note: str, expected_version: int, by: Account
) -> ResourceVersion:
    """Give a resource a new file as its next version. The old file stays until it is purged.

    `expected_version` is the version that the person saw on the page. Raises Conflict, Refused.
    """
    note = note.strip()
    if len(note) > MAX_NOTE_LENGTH:
        raise Refused(f"The note has {len(note)} characters. Shorten it to at most {MAX_NOTE_LENGTH}.")
    with transaction.atomic():
        resource = _locked(resource_id)
        if resource.current_version is None:
            raise Refused("This resource is a link and has no file. Change its address instead.")
        if resource.current_version != expected_version:
            raise Conflict(
                f"Somebody replaced the file in the meantime. You saw version {expected_version}, and now version "
                f"{resource.current_version} is current. Look at it, and replace it again if you still want to."
            )
        if resource.sha256 == file.stored.sha256:
            raise Refused("The resource already has this file. Choose the new one.")
        before = _values(resource)
        last = resource.versions.aggregate(last=models.Max("number"))["last"] or 0
        _use(resource, file, number=max(last, resource.current_version) + 1, by=by)
        resource.save(update_fields=[*FILE_FIELDS, "updated_at"])
        version = _add_version(resource, file, note=note, by=by)
        details = {**_differences(before, _values(resource)), "note": note}
        _log("RESOURCE_REPLACED", resource, details, by=by)
    return version


def publish(*, resource_ids: Collection[str], by: Account) -> int:
    """Publish drafts and scheduled resources now. Returns how many were changed."""
    return _set_all(resource_ids, by=by, action="RESOURCE_PUBLISHED", values={"status": Status.PUBLISHED})


def schedule(*, resource_ids: Collection[str], at: datetime, by: Account) -> int:
    """Show resources to members from the time `at` on, and not before. Raises Refused."""
    check_schedule(status=Status.SCHEDULED, at=at)
    values = {"status": Status.SCHEDULED, "publish_at": at}
    return _set_all(resource_ids, by=by, action="RESOURCE_SCHEDULED", values=values)


def check_schedule(*, status: str, at: datetime | None) -> None:
    """Check that a status and a time of publication match. Raises Refused."""
    now = datetime.now(UTC)
    if status == Status.SCHEDULED and at is None:
        raise Refused("A scheduled resource needs a time from which members see it. Enter one, in UTC.")
    if status == Status.SCHEDULED and at and at <= now:
        raise Refused(f"{at:%-d %b %Y, %H:%M} UTC is in the past. Enter a later time, or choose Published.")
    if status == Status.PUBLISHED and at and at > now:
        raise Refused("Members see a published resource at once. Choose Scheduled, or leave the time empty.")


def feature(*, resource_ids: Collection[str], is_featured: bool, by: Account) -> int:
    """Mark resources as featured, or remove the mark. Returns how many were changed."""
    action = "RESOURCE_FEATURED" if is_featured else "RESOURCE_NO_LONGER_FEATURED"
    return _set_all(resource_ids, by=by, action=action, values={"is_featured": is_featured})


def delete(*, resource_ids: Collection[str], by: Account) -> int:
    """Hide resources from members. Files, versions and downloads stay, and `restore` undoes it."""
    return _set_all(resource_ids, by=by, action="RESOURCE_DELETED", values={"deleted_at": datetime.now(UTC)})


def restore(*, resource_ids: Collection[str], by: Account) -> int:
    """Restore deleted resources as they were. Returns how many were changed."""
    return _set_all(resource_ids, by=by, action="RESOURCE_RESTORED", values={"deleted_at": None})


def purge(*, resource_id: str, number: int, by: Account) -> None:
    """Delete the file of an old version permanently. Its row and note stay. Raises Refused."""
    with transaction.atomic():
        resource = _locked(resource_id)
        version = resource.versions.filter(number=number).first()
        if version is None:
            raise Refused(f"There is no version {number} of this resource.")
        if number == resource.current_version:
            raise Refused(f"Members get version {number} now. Replace the file first, then purge this.")
        if version.purged_at:
            raise Refused(f"The file of version {number} is already purged.")
        version.purged_at = datetime.now(UTC)
        version.save(update_fields=["purged_at"])
        details = {"version": number, "fileName": version.file_name, "sha256": version.sha256}
        _log("RESOURCE_VERSION_PURGED", resource, details, by=by)
        _remove_after_commit(version.storage_path)


# If two members of staff name a tag at the same time, the second one waits, and then sees the tag of the first.
ONE_AT_A_TIME = 'LOCK TABLE "ResourceTag" IN SHARE ROW EXCLUSIVE MODE'


def name_tag(*, tag: ResourceTag, name: str) -> None:
    """Set a tag's name and slug without saving it. Raises Refused if another tag has the same name or slug.

    The caller must save the tag in the same transaction. Until that ends, nobody else can name a tag.
    """
    with connection.cursor() as cursor:
        cursor.execute(ONE_AT_A_TIME)
    tag.name = name
    tag.slug = slugify(name) or tag.pk
    others = ResourceTag.objects.exclude(pk=tag.pk)
    if other := others.filter(models.Q(name__iexact=name) | models.Q(slug=tag.slug)).first():
        raise Refused(f"There is already a tag {other.name!r}. Use it, or choose another name.")


def merge_tags(*, tag_ids: Collection[str], into_id: str, by: Account) -> int:
    """Replace tags with the tag `into_id` on all resources, and delete the replaced tags.

    Returns how many resources did not have `into_id` before. Raises Refused.
    """
    with transaction.atomic():
        wanted = {*tag_ids, into_id}
        tags = {
            tag.pk: tag
            for tag in ResourceTag.objects.select_for_update().filter(pk__in=wanted).order_by("pk")
        }
        if len(tags) < len(wanted):
            raise Refused("One of the tags no longer exists. Select them again.")
        into = tags.pop(into_id)
        if not tags:
            raise Refused("Select at least two tags: one to keep, and others to merge into it.")
        taggings = ResourceTagging.objects.filter(tag__in=tags)
        resource_ids = list(taggings.values_list("resource_id", flat=True).distinct().order_by("resource_id"))
        have = set(
            ResourceTagging.objects.filter(tag=into, resource__in=resource_ids).values_list(
                "resource_id", flat=True
            )
        )
        missing = [resource_id for resource_id in resource_ids if resource_id not in have]
        ResourceTagging.objects.bulk_create(
            [ResourceTagging(resource_id=resource_id, tag=into) for resource_id in missing],
            ignore_conflicts=True,
        )
        taggings.delete()
        names = sorted(tag.name for tag in tags.values())
        ResourceTag.objects.filter(pk__in=tags).delete()
        AuditLog.objects.create(
            action="RESOURCE_TAGS_MERGED",
            entity_type="ResourceTag",
            entity_id=into.pk,
            details={"merged": names, "into": into.name, "resources": resource_ids},
            performed_by=by.staff_id,
        )
    return len(missing)


def delete_tag(*, tag: ResourceTag) -> None:
    """Delete a tag that no resource has. Raises Refused."""
    try:
        with transaction.atomic():
            tag.delete()
    except IntegrityError as error:
        raise Refused(in_use(tag)) from error


def in_use(tag: ResourceTag) -> str:
    """Explain why a tag cannot be deleted."""
    number = tag.taggings.count()
    resources = "1 resource has" if number == 1 else f"{number} resources have"
    return f"{resources} the tag {tag.name!r}. Merge it into another tag, or remove it from them first."


FILE_FIELDS = (
    "storage_path", "file_name", "file_size", "mime_type", "sha256", "current_version", "uploaded_by",
)  # fmt: skip


def _locked(resource_id: str) -> Resource:
    resource = Resource.objects.select_for_update(no_key=True).filter(pk=resource_id).first()
    if resource is None:
        raise Refused("This resource no longer exists.")
    return resource


def _set_all(resource_ids: Collection[str], *, by: Account, action: str, values: dict[str, Any]) -> int:
    changed = 0
    with transaction.atomic():
        rows = Resource.objects.select_for_update(no_key=True).filter(pk__in=resource_ids).order_by("pk")
        for resource in rows:
            before = _values(resource)
            if action == "RESOURCE_DELETED" and resource.deleted_at:
                continue
            for name, value in values.items():
                setattr(resource, name, value)
            names = {*values}
            if "status" in values:
                _time_of_publication(resource, was=before["status"])
                names.add("publish_at")
            if differences := _differences(before, _values(resource)):
                resource.save(update_fields=[*names, "updated_at"])
                _log(action, resource, differences, by=by)
                changed += 1
    return changed


def _use(resource: Resource, file: Received, *, number: int, by: Account) -> None:
    resource.storage_path = file.stored.path
    resource.file_name = file.name
    resource.file_size = file.stored.size
    resource.mime_type = file.mime_type
    resource.sha256 = file.stored.sha256
    resource.current_version = number
    resource.uploaded_by = by.staff_id


def _add_version(resource: Resource, file: Received, *, note: str, by: Account) -> ResourceVersion:
    assert resource.current_version
    return ResourceVersion.objects.create(
        resource=resource,
        number=resource.current_version,
        note=note,
        storage_path=file.stored.path,
        file_name=file.name,
        file_size=file.stored.size,
        mime_type=file.mime_type,
        sha256=file.stored.sha256,
        uploaded_by=by.staff_id,
        created_at=CLOCK,
    )


def _use_thumbnail(resource: Resource, path: str | None, *, site: str) -> None:
    resource.thumbnail_path = path
    resource.thumbnail_url = f"{site}{resource.thumbnail_address}" if path else None


def _time_of_publication(resource: Resource, *, was: str) -> None:
    """Set the time of publication of a resource that becomes published now, so that members see it as new."""
    if resource.status == Status.PUBLISHED and was != Status.PUBLISHED:
        now = datetime.now(UTC)
        if resource.publish_at is None or resource.publish_at > now:
            resource.publish_at = now


def _tag(resource: Resource, tags: Iterable[ResourceTag]) -> None:
    wanted = {tag.pk for tag in tags}
    ResourceTagging.objects.filter(resource=resource).exclude(tag__in=wanted).delete()
    ResourceTagging.objects.bulk_create(
        [ResourceTagging(resource=resource, tag_id=tag_id) for tag_id in sorted(wanted)],
        ignore_conflicts=True,
    )


def _values(resource: Resource) -> dict[str, Any]:
    values = {name: getattr(resource, name) for name in TOLD if name != "tags"}
    for name in ("publish_at", "deleted_at"):
        values[name] = values[name] and values[name].isoformat(timespec="milliseconds")
    names = ResourceTagging.objects.filter(resource=resource).values_list("tag__name", flat=True)
    return {**values, "tags": sorted(names)}


def _differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"from": before.get(name), "to": value}
        for name, value in after.items()
        if value != before.get(name) and not (value in (None, [], "") and name not in before)
    }


def _log(action: str, resource: Resource, details: dict[str, Any], *, by: Account) -> None:
    AuditLog.objects.create(
        action=action,
        entity_type="Resource",
        entity_id=resource.pk,
        details=details,
        performed_by=by.staff_id,
    )


def _remove_after_commit(path: str) -> None:
    transaction.on_commit(lambda: storage.discard(path))
