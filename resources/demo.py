"""The library of the made-up community: resources with small real files, and their downloads."""

import zipfile
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO

from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from council import demo
from council.models import AdminRole, Member
from gamification import demo as points
from gamification import ledger
from gamification.models import Action
from resources import curation, storage, uploads
from resources.models import Category, Resource, ResourceDownload, ResourceTag, ResourceVersion, Status, Type

SITE = "http://127.0.0.1:8000"
DOWNLOADS = 1_900
MIAS_DOWNLOADS = 9
TAGS = ("Deliverability", "Hiring", "Pricing", "Onboarding", "Reporting", "Copy", "Calls", "Data")
DRAFTS, SCHEDULED, DELETED = (31, 32, 33), (34, 35), (30,)
LINK, THREE_VERSIONS = 29, 0
# The titles and types of the resources, by category.
TITLES: Mapping[Category, tuple[tuple[str, Type], ...]] = {
    Category.COLD_EMAIL: (
        ("The deliverability playbook", Type.PLAYBOOK),
        ("Forty first lines that got replies", Type.TEMPLATE),
        ("Warming up inboxes, week by week", Type.SOP),
        ("Domains: how many, and which", Type.PLAYBOOK),
        ("Follow-ups that do not annoy", Type.TEMPLATE),
        ("Reading bounce messages", Type.SOP),
        ("Writing for busy people", Type.COURSE),
        ("A checklist before every campaign", Type.TEMPLATE),
    ),
    Category.SALES_GTM: (
        ("The discovery call", Type.PLAYBOOK),
        ("A proposal on one page", Type.TEMPLATE),
        ("Pricing by retainer and by meeting", Type.PLAYBOOK),
        ("Answers to twelve objections", Type.TEMPLATE),
        ("From meeting to contract", Type.SOP),
        ("Cold calls for those who dislike them", Type.COURSE),
        ("Finding the buyer in a large company", Type.PLAYBOOK),
    ),
    Category.CUSTOMER_SERVICE: (
        ("The first thirty days with a client", Type.PLAYBOOK),
        ("A weekly report that clients read", Type.TEMPLATE),
        ("When a campaign fails", Type.SOP),
        ("Asking for a renewal", Type.PLAYBOOK),
        ("Handover between account managers", Type.SOP),
        ("A client survey", Type.TEMPLATE),
        ("Saying no politely", Type.COURSE),
    ),
    Category.OPERATIONS: (
        ("Hiring an SDR", Type.PLAYBOOK),
        ("A scorecard for interviews", Type.TEMPLATE),
        ("Data enrichment step by step", Type.SOP),
        ("Cleaning a list", Type.SOP),
        ("Planning capacity", Type.TEMPLATE),
        ("Working with assistants abroad", Type.PLAYBOOK),
        ("What to automate first", Type.COURSE),
    ),
    Category.AGENCY_GROWTH: (
        ("Office hours: a recording", Type.VIDEO),
        ("The old pricing calculator", Type.TEMPLATE),
        ("Finding a niche", Type.PLAYBOOK),
        ("From founder to manager", Type.PLAYBOOK),
        ("Profit first", Type.COURSE),
        ("Partners who refer clients", Type.PLAYBOOK),
        ("Selling an agency", Type.PLAYBOOK),
    ),
}
COLOURS = {
    Category.COLD_EMAIL: ("#14532d", "#86d9a1"),
    Category.SALES_GTM: ("#1e3a8a", "#93c5fd"),
    Category.CUSTOMER_SERVICE: ("#7c2d12", "#fdba74"),
    Category.OPERATIONS: ("#334155", "#cbd5e1"),
    Category.AGENCY_GROWTH: ("#581c87", "#d8b4fe"),
}


@demo.act("Resources and downloads", place=2)
def library(community: demo.Community) -> None:
    tags = []
    for name in TAGS:
        tag = ResourceTag(id=community.id())
        curation.name_tag(tag=tag, name=name)
        tag.save()
        tags.append(tag)
    titles = [(category, title, type_) for category, of_it in TITLES.items() for title, type_ in of_it]
    stored: list[str] = []
    try:
        resources = [
            _resource(community, number, *given, tags, stored) for number, given in enumerate(titles)
        ]
    except BaseException:
        for path in stored:
            storage.discard(path)
        raise
    curation.delete(resource_ids=[resources[n].pk for n in DELETED], by=community.staff[AdminRole.ADMIN])
    shown = [resource for resource in resources if resource.status == Status.PUBLISHED]
    _download(community, shown)


def _resource(
    community: demo.Community,
    number: int,
    category: Category,
    title: str,
    type_: Type,
    tags: list[ResourceTag],
    stored: list[str],
) -> Resource:
    draw, staff = community.draw, community.staff[AdminRole.ADMIN]
    since = community.ago(2 + abs(number - 1) * 12.5)
    resource = Resource(
        id=community.id(),
        title=title,
        description=f"{title}: what worked for members of the council, step by step, with the mistakes to avoid.",
        category=category,
        type=type_,
        author=draw.choice(("The council", "Ana Costa", "Kofi Mbeki", "")) or None,
        is_featured=number in {0, 8, 15},
        created_at=since,
        publish_at=since,
        status=Status.PUBLISHED,
    )
    if number in DRAFTS:
        resource.status, resource.publish_at = Status.DRAFT, None
    if number in SCHEDULED:
        resource.status, resource.publish_at = Status.SCHEDULED, community.ago(-5 - number)
    file = None
    if number == LINK:
        resource.file_url = "https://video.example.com/office-hours"
    else:
        file = _received(title, type_, stored, edition=1)
    picture = _picture(category, stored) if number % 3 == 0 else None
    chosen = draw.sample(tags, k=draw.choice((1, 2, 2, 3)))
    curation.create(resource=resource, file=file, thumbnail_path=picture, tags=chosen, site=SITE, by=staff)
    moments = [since]
    if number == THREE_VERSIONS:
        moments = [community.ago(200), community.ago(60), community.ago(3)]
        resource.created_at = resource.publish_at = moments[0]
        resource.save(update_fields=["created_at", "publish_at"])
        for edition in (2, 3):
            file = _received(title, type_, stored, edition=edition)
            note = f"Edition {edition}: what the members found out since."
            curation.replace(
                resource_id=resource.pk, file=file, note=note, expected_version=edition - 1, by=staff
            )
    for version, moment in enumerate(moments, 1):
        ResourceVersion.objects.filter(resource=resource, number=version).update(created_at=moment)
    return resource


def _received(title: str, type_: Type, stored: list[str], *, edition: int) -> uploads.Received:
    """Check a file like an upload, and store it."""
    if type_ == Type.TEMPLATE:
        suffix, content = "docx", _docx(title, edition)
    elif type_ == Type.COURSE:
        suffix, content = "zip", _zip({"Lesson 1.pdf": _pdf(title, edition), "Read me.txt": title.encode()})
    else:
        suffix, content = "pdf", _pdf(title, edition)
    checked = uploads.check(SimpleUploadedFile(f"{title.replace(':', '')}.{suffix}", content, ""))
    kind = checked.media_type
    saved = storage.save(
        checked.file, folder=storage.FILES, extension=kind.extension, mime_type=kind.mime_type
    )
    stored.append(saved.path)
    return uploads.Received(saved, checked.name, kind.mime_type)


def _picture(category: Category, stored: list[str]) -> str:
    dark, light = COLOURS[category]
    gradient = Image.linear_gradient("L").resize((640, 360))
    picture = Image.composite(
        Image.new("RGB", (640, 360), light), Image.new("RGB", (640, 360), dark), gradient
    )
    file = BytesIO()
    picture.save(file, "PNG")
    saved = storage.save(
        uploads.check_thumbnail(SimpleUploadedFile("picture.png", file.getvalue(), "image/png")),
        folder=storage.THUMBNAILS,
        extension=".webp",
        mime_type="image/webp",
    )
    stored.append(saved.path)
    return saved.path


def _pdf(title: str, edition: int) -> bytes:
    """Create a PDF of one page with a line of text."""
    text = f"BT /F1 20 Tf 60 760 Td ({title}, edition {edition}) Tj ET".encode()
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(text), text),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    )
    content, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, len(content))
    return content + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + trailer


OFFICE = "application/vnd.openxmlformats-officedocument.wordprocessingml"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
WORDS = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def _docx(title: str, edition: int) -> bytes:
    """Create a Word document with a line of text."""
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    parts = {
        "[Content_Types].xml": f'{head}<Types xmlns="{PACKAGE}/content-types">'
        f'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{OFFICE}.document.main+xml"/></Types>',
        "_rels/.rels": f'{head}<Relationships xmlns="{PACKAGE}/relationships">'
        f'<Relationship Id="rId1" Type="{DOCUMENT}" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'{head}<w:document xmlns:w="{WORDS}"><w:body><w:p><w:r>'
        f"<w:t>{title}, edition {edition}</w:t></w:r></w:p></w:body></w:document>",
    }
    return _zip({name: part.encode() for name, part in parts.items()})


def _zip(entries: Mapping[str, bytes]) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _download(community: demo.Community, resources: list[Resource]) -> None:
    """Draw the downloads at random. A few resources are very popular, and a few members download most of them."""
    draw = community.draw
    popularity = [1 / (1 + place) ** 0.8 for place in range(len(resources))]
    others = [member for member in community.members if member != community.mia]
    eagerness = [community.eagerness[member.pk] for member in others]
    # Mia has downloaded only older resources, so that her home page has something new to show.
    known = [one for one in resources if one.publish_at and one.publish_at < community.ago(30)]
    pairs: list[tuple[Member, Resource]] = [
        (community.mia, resource) for resource in draw.sample(known, k=MIAS_DOWNLOADS)
    ]
    count = DOWNLOADS - len(pairs)
    pairs += zip(
        draw.choices(others, eagerness, k=count), draw.choices(resources, popularity, k=count), strict=True
    )
    rows = []
    for member, resource in pairs:
        assert resource.publish_at
        until = community.ago(points.QUIET_DAYS + 1 if member == community.mia else 0)
        since = min(max(member.created_at, resource.publish_at), until)
        moment = until - (until - since) * draw.random() ** 1.3
        rows.append(ResourceDownload(member=member, resource=resource, downloaded_at=moment))
    rows.sort(key=lambda row: row.downloaded_at)
    ResourceDownload.objects.bulk_create(rows)
    first: dict[tuple[str, str], tuple[Resource, datetime]] = {}
    for row in rows:
        first.setdefault((row.member_id, row.resource_id), (row.resource, row.downloaded_at))
    points.pay(
        (
            ledger.Award(
                member_id,
                Action.RESOURCE_DOWNLOAD,
                subject=resource_id,
                metadata={"resourceId": resource_id, "title": resource.title},
            ),
            moment,
        )
        for (member_id, resource_id), (resource, moment) in first.items()
    )
