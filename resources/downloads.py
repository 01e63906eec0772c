"""Downloads. A download makes a row, a count, points and a link, or none of them."""

from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.utils.encoding import iri_to_uri

from council.models import GOOD_STANDING, Member
from gamification import ledger
from gamification.models import Action
from resources import storage
from resources.models import Resource, ResourceDownload

ATTEMPTS = 3


class Refused(Exception):
    """Nothing was recorded. The message gives the reason."""


class Gone(Refused):
    """Members cannot see the resource, or can no longer see it."""


class NotInGoodStanding(Refused):
    """The member's membership is not active."""


class Download(NamedTuple):
    """The result of a download: an address that works for an hour (for a link, its own address), and points."""

    resource: Resource
    address: str
    points: int


class _Changed(Exception):
    """The resource changed after the link was made."""


def download(*, member: Member, resource_id: str) -> Download:
    """Record a download, award points if it is the member's first of this resource, and make the link.

    The link is made first, so that nothing is recorded if it fails, and no lock is held while the storage answers. Then
    one transaction adds the row, whose trigger locks and counts the resource. It checks that the resource still matches
    the link. Last, it awards the points, which locks the member. The row's foreign key takes only a share lock on the
    member, which does not conflict with an award.
    Raises Gone, NotInGoodStanding, Refused, storage.Unavailable, ledger.Refused.
    """
    for _ in range(ATTEMPTS):
        resource = Resource.objects.shown().find(resource_id)
        if resource is None:
            raise Gone("This resource is no longer in the library.")
        address = _address(resource, member=member)
        try:
            return Download(resource, address, _record(resource, member=member))
        except _Changed:
            continue
    raise Refused("The resource is being changed right now. Try again in a minute.")


def _address(resource: Resource, *, member: Member) -> str:
    if resource.storage_path is None:
        # Rows that the gateway wrote may hold any text.
        if not resource.file_url.lower().startswith("https://"):
            raise Refused(
                "The address of this resource cannot be opened. Tell the staff which resource you tried."
            )
        return iri_to_uri(resource.file_url)
    return storage.link(
        resource.storage_path,
        file_name=resource.file_name or resource.title,
        mime_type=resource.mime_type or "application/octet-stream",
        member_id=member.pk,
    )


@transaction.atomic
def _record(resource: Resource, *, member: Member) -> int:
    """Write the row and award the points. Returns how many."""
    try:
        ResourceDownload.objects.create(member=member, resource=resource)
    except IntegrityError as error:  # a foreign key: the member or the resource was deleted
        raise Gone("This resource is no longer in the library.") from error
    now = Resource.objects.shown().find(resource.pk)
    if now is None or (now.storage_path, now.file_url) != (resource.storage_path, resource.file_url):
        raise _Changed
    if not Member.objects.filter(pk=member.pk, subscription_status__in=GOOD_STANDING).exists():
        raise NotInGoodStanding("Your membership is not active.")
    paid = ledger.award(
        ledger.Award(
            member_id=member.pk,
            action=Action.RESOURCE_DOWNLOAD,
            subject=resource.pk,
            metadata={"resourceId": resource.pk, "title": now.title},
        )
    )
    return paid.points if paid else 0
