"""What staff do to the library. Each act locks the resource, changes it, and leaves a row in the audit log with that.

Locks are taken in the order of the downloads': the resource, then anything else.
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
# What the audit log says of a resource, by the names of its columns here.
TOLD = (
    "title", "description", "category", "type", "author", "file_url", "file_name", "file_size", "mime_type", "sha256",
    "current_version", "thumbnail_path", "status", "publish_at", "is_featured", "deleted_at", "tags",
)  # fmt: skip
# The clock's time, not the transaction's: taken after the lock, so that no download in between is of another version.
CLOCK = models.Func(
    template="(clock_timestamp() AT TIME ZONE 'UTC')::timestamp(3)", output_field=TimestampField()
)


class Conflict(Refused):
    """Somebody else was faster. The message says what they did."""


def create(
    *,
    resource: Resource,
    file: Received | None,
    thumbnail_path: str | None,
    tags: Iterable[ResourceTag],
    site: str,
    by: Account,
) -> None:
    """Add a resource: a file, or a link by `file_url`. `site` begins the addresses on this site."""
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
    """Write these fields of a resource, its tags where they are given, and its thumbnail where there is a new one."""
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
    """Give a resource a new file, as its next version. The old one stays until it is purged.

    `expected_version` is the one that was shown to who replaces it. Raises Conflict, Refused.
    """
    note = note.strip()
    if len(note) > MAX_NOTE_LENGTH:
        raise Refused(f"The note has {len(note)} characters. Shorten it to at most {MAX_NOTE_LENGTH}.")
    with transaction.atomic():
        resource = _locked(resource_id)
        if resource.current_version is None:
            raise Refused("This resource is a link: it has no file. Change its address instead.")
        if resource.current_version != expected_version:
            raise Conflict(
                f"Somebody replaced the file in the meantime: version {resource.current_version} is there, and you saw "
                f"version {expected_version}. Look at it, and replace it again if you still want to."
            )
        if resource.sha256 == file.stored.sha256:
            raise Refused("This is the file that the resource has already. Choose the new one.")
        before = _values(resource)
        last = resource.versions.aggregate(last=models.Max("number"))["last"] or 0
        _use(resource, file, number=max(last, resource.current_version) + 1, by=by)
        resource.save(update_fields=[*FILE_FIELDS, "updated_at"])
        version = _add_version(resource, file, note=note, by=by)
        details = {**_differences(before, _values(resource)), "note": note}
        _log("RESOURCE_REPLACED", resource, details, by=by)
    return version


def publish(*, resource_ids: Collection[str], by: Account) -> int:
    """Show drafts and scheduled resources to members, from now on. Returns how many were changed."""
    return _set_all(resource_ids, by=by, action="RESOURCE_PUBLISHED", values={"status": Status.PUBLISHED})


def schedule(*, resource_ids: Collection[str], at: datetime, by: Account) -> int:
    """Show resources to members from a moment on, and not before. Raises Refused."""
    check_schedule(status=Status.SCHEDULED, at=at)
    values = {"status": Status.SCHEDULED, "publish_at": at}
    return _set_all(resource_ids, by=by, action="RESOURCE_SCHEDULED", values=values)


def check_schedule(*, status: str, at: datetime | None) -> None:
    """Make sure that a status and a time of publication go together. Raises Refused."""
    now = datetime.now(UTC)
    if status == Status.SCHEDULED and at is None:
        raise Refused("A scheduled resource needs the time at which members see it. Enter one, in UTC.")
    if status == Status.SCHEDULED and at and at <= now:
        raise Refused(
            f"{at:%-d %b %Y, %H:%M} UTC is past. Enter a time that is to come, or choose Published."
        )
    if status == Status.PUBLISHED and at and at > now:
        raise Refused("A published resource is seen at once. Choose Scheduled, or leave the time empty.")


def feature(*, resource_ids: Collection[str], is_featured: bool, by: Account) -> int:
    """Put resources among those that are featured, or take them out. Returns how many were changed."""
    action = "RESOURCE_FEATURED" if is_featured else "RESOURCE_NO_LONGER_FEATURED"
    return _set_all(resource_ids, by=by, action=action, values={"is_featured": is_featured})


def delete(*, resource_ids: Collection[str], by: Account) -> int:
    """Take resources out of the library. Files, versions and downloads stay, and `restore` brings all back."""
    return _set_all(resource_ids, by=by, action="RESOURCE_DELETED", values={"deleted_at": datetime.now(UTC)})


def restore(*, resource_ids: Collection[str], by: Account) -> int:
    """Bring deleted resources back, as they were. Returns how many were changed."""
    return _set_all(resource_ids, by=by, action="RESOURCE_RESTORED", values={"deleted_at": None})


def purge(*, resource_id: str, number: int, by: Account) -> None:
    """Remove the file of an old version for good. Its row stays, with the note. Raises Refused."""
    with transaction.atomic():
        resource = _locked(resource_id)
        version = resource.versions.filter(number=number).first()
        if version is None:
            raise Refused(f"There is no version {number} of this resource.")
        if number == resource.current_version:
            raise Refused(f"Version {number} is the one that members get. Replace it first, then purge it.")
        if version.purged_at:
            raise Refused(f"The file of version {number} has been purged already.")
        version.purged_at = datetime.now(UTC)
        version.save(update_fields=["purged_at"])
        details = {"version": number, "fileName": version.file_name, "sha256": version.sha256}
        _log("RESOURCE_VERSION_PURGED", resource, details, by=by)
        _remove_after_commit(version.storage_path)


# Two members of staff who name a tag at the same time: the second waits, and then finds the tag of the first.
ONE_AT_A_TIME = 'LOCK TABLE "ResourceTag" IN SHARE ROW EXCLUSIVE MODE'


def name_tag(*, tag: ResourceTag, name: str) -> None:
    """Give a tag its name, and a slug that is like it. Raises Refused where another tag has either.

    Needs a transaction, which saves the tag: until its end nobody else can name one.
    """
    with connection.cursor() as cursor:
        cursor.execute(ONE_AT_A_TIME)
    tag.name = name
    tag.slug = slugify(name) or tag.pk
    others = ResourceTag.objects.exclude(pk=tag.pk)
    if other := others.filter(models.Q(name__iexact=name) | models.Q(slug=tag.slug)).first():
        raise Refused(f"There is a tag {other.name!r} already. Use that one, or choose another name.")


def merge_tags(*, tag_ids: Collection[str], into_id: str, by: Account) -> int:
    """Give every resource that has one of the tags the other one instead, and delete the tags.

    Returns how many resources got the other tag. Raises Refused.
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
            raise Refused("Select at least two tags: one to keep, and those that become part of it.")
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
    """Say why a tag cannot be deleted."""
    number = tag.taggings.count()
    resources = "1 resource has" if number == 1 else f"{number} resources have"
    return f"{resources} the tag {tag.name!r}. Merge it into another one, or take it off first."


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
    """A resource that is published now was not in the library before; members see it as new."""
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
