"""Differences between the storage and the database: files that no row refers to, and rows whose file is missing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Q

from resources import storage
from resources.models import Resource, ResourceVersion
from resources.storage import Listed

# A file is stored before its row is written, so a new file without a row is normal.
OLD_ENOUGH = timedelta(days=1)
# The job removes only what killed processes may have left: a few old files. More than that mean that rows were lost,
# perhaps because an old backup was restored, or that the storage belongs to another installation.
OLD_ENOUGH_FOR_A_JOB = timedelta(days=7)
MOST_FOR_A_JOB = 20
SHOWN = 5


class Disagree(Exception):
    """The storage and the rows differ in a way that a person must look at."""


@dataclass(frozen=True)
class Missing:
    """A row whose file is not in the storage."""

    path: str
    description: str


def unused(*, older_than: timedelta = OLD_ENOUGH) -> Iterator[Listed]:
    """Find files that no row refers to, and that are too old to get a row soon. Raises storage.Unavailable."""
    newest = datetime.now(UTC) - older_than
    listed = [found for found in storage.listing() if found.written_at <= newest]
    used = {path for path, _ in _used()}
    for found in listed:
        if found.path not in used:
            yield found


def remove(found: Listed) -> bool:
    """Remove a file, unless a row refers to it by now. Raises storage.Unavailable."""
    if is_used(found.path):
        return False
    storage.delete(found.path)
    return True


def clean() -> int:
    """Remove files that killed processes left over a week ago, and return how many.

    Raises Disagree if more than 20 files have no row (then it removes none), or if the file of a row is missing.
    Raises storage.Unavailable.
    """
    found = list(unused(older_than=OLD_ENOUGH_FOR_A_JOB))
    faults, removed = [], 0
    if len(found) > MOST_FOR_A_JOB:
        faults.append(
            f"Files without a row: {len(found):,}, more than killed processes leave. None was removed. Check whether "
            f"rows were lost or the storage is another installation's. If not: `manage.py clean_storage --remove`."
        )
    else:
        removed = sum(remove(each) for each in found)
    gone = [f"{each.path} ({each.description})" for each in missing()]
    if gone:
        shown = f"{', '.join(gone[:SHOWN])}{' …' if len(gone) > SHOWN else ''}"
        faults.append(
            f"Rows whose file is missing: {len(gone):,}: {shown}. Restore the files from a backup of the storage, or "
            f"replace them in the admin."
        )
    if faults:
        raise Disagree(" ".join(faults))
    return removed


def is_used(path: str) -> bool:
    return (
        ResourceVersion.objects.filter(storage_path=path, purged_at__isnull=True).exists()
        or Resource.objects.filter(Q(storage_path=path) | Q(thumbnail_path=path)).exists()
    )


def missing() -> Iterator[Missing]:
    """Find rows whose file is not in the storage, by listing all files. Raises storage.Unavailable."""
    used = dict(_used())
    there = {found.path for found in storage.listing()}
    for path, description in used.items():
        # A row may have been deleted, or a file added, while the storage was listed.
        if path not in there and is_used(path) and not storage.exists(path):
            yield Missing(path, description)


def sample_missing(rows: int) -> tuple[int, list[Missing]]:
    """Check the files of the newest versions. Returns how many were checked, and those that are missing."""
    newest = ResourceVersion.objects.filter(purged_at__isnull=True).order_by("-pk")[:rows]
    looked_for = [(version.storage_path, _version(version.resource_id, version.number)) for version in newest]
    return len(looked_for), [Missing(*each) for each in looked_for if not storage.exists(each[0])]


def _used() -> Iterator[tuple[str, str]]:
    """Yield every path in a row, with a description of the file."""
    versions = ResourceVersion.objects.filter(purged_at__isnull=True)
    for path, resource_id, number in versions.values_list("storage_path", "resource_id", "number").iterator():
        yield path, _version(resource_id, number)
    rows = Resource.objects.values_list("storage_path", "thumbnail_path", "pk")
    for file, thumbnail, resource_id in rows.exclude(storage_path=None, thumbnail_path=None).iterator():
        if file:
            yield file, f"the file of resource {resource_id}"
        if thumbnail:
            yield thumbnail, f"the thumbnail of resource {resource_id}"


def _version(resource_id: str, number: int) -> str:
    return f"version {number} of resource {resource_id}"
