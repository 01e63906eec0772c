"""A download: the row, the count, the points and a link, all of them or none."""

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
    """Nothing was recorded, for the reason that the message gives."""


class Gone(Refused):
    """Members cannot see the resource, or no longer."""


class NotInGoodStanding(Refused):
    """The member's membership is not active."""


class Download(NamedTuple):
    """What a member gets: an address that is good for an hour (for a link, the address itself), and points."""

    resource: Resource
    address: str
    points: int


class _Changed(Exception):
    """The resource is not what it was when the link was made."""


def download(*, member: Member, resource_id: str) -> Download:
    """Record a download, pay for the first one, and make the link.

    The link is made first, so that nothing is recorded where it cannot be made, and no lock is held while the storage
    answers. Then one transaction adds the row, by which its trigger counts and locks the resource; looks whether the
    resource is still the one that the link is for; and pays, which locks the member. The key of the row on the member
    is a share lock that neither waits for a payment nor holds one up.
    Raises Gone, NotInGoodStanding, Refused, storage.Unavailable, ledger.Refused.
    """
    for _ in range(ATTEMPTS):
        resource = Resource.objects.shown().find(resource_id)
        if resource is None:
            raise Gone("This resource is not in the library any more.")
        address = _address(resource, member=member)
        try:
            return Download(resource, address, _record(resource, member=member))
        except _Changed:
            continue
    raise Refused("The resource is being changed right now. Try again in a minute.")


def _address(resource: Resource, *, member: Member) -> str:
    if resource.storage_path is None:
        # The gateway's rows may hold anything.
        if not resource.file_url.lower().startswith("https://"):
            raise Refused(
                "The address of this resource cannot be opened. Tell the staff which resource it is."
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
    """Returns the points that were paid."""
    try:
        ResourceDownload.objects.create(member=member, resource=resource)
    except IntegrityError as error:  # a foreign key: one of the two was deleted
        raise Gone("This resource is not in the library any more.") from error
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
