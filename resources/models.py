"""The library: resources, their versions, tags and downloads, and searches without results."""

from typing import Self

from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models.functions import Coalesce, Left, Now
from django.urls import NoReverseMatch, reverse

from council.models import Member
from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import CuidField, CurrentTimestamp, EnumField, TimestampField
from council.postgres.indexes import GinIndex, Index, UniqueIndex
from resources import triggers

MAX_TITLE_LENGTH = 200
MAX_DESCRIPTION_LENGTH = 2_000
MAX_TAG_LENGTH = 50
MAX_SEARCH_LENGTH = 200


class Category(models.TextChoices):
    COLD_EMAIL = "COLD_EMAIL"
    SALES_GTM = "SALES_GTM", "Sales & GTM"
    CUSTOMER_SERVICE = "CUSTOMER_SERVICE"
    OPERATIONS = "OPERATIONS"
    AGENCY_GROWTH = "AGENCY_GROWTH"


class Type(models.TextChoices):
    TEMPLATE = "TEMPLATE"
    SOP = "SOP", "SOP"
    PLAYBOOK = "PLAYBOOK"
    COURSE = "COURSE"
    VIDEO = "VIDEO"


class Status(models.TextChoices):
    """Whether members can see a resource. Rows that the gateway inserts are PUBLISHED."""

    DRAFT = "DRAFT"
    SCHEDULED = "SCHEDULED"
    PUBLISHED = "PUBLISHED"


# The text that a search reads. Words in a title have the highest weight. PostgreSQL cannot index a text with too many
# different words, so a description that the gateway wrote is cut to a length that always fits.
SEARCHED = (
    SearchVector("title", weight="A", config="english")
    + SearchVector("author", weight="B", config="english")
    + SearchVector(Left("description", 20_000), weight="C", config="english")
)
# Only the title. If very many resources contain the words, the search takes those with the words in the title first.
SEARCHED_TITLE = SearchVector("title", config="english")
# The time since when members can see a resource. Rows of the gateway have no `publish_at`.
SHOWN_AT = Coalesce("publish_at", "created_at")
# The rows in the library's partial indexes. They include scheduled resources, even before their time.
LISTED = models.Q(deleted_at__isnull=True) & ~models.Q(status=Status.DRAFT)


class ResourceQuerySet(models.QuerySet["Resource"]):
    def shown(self) -> Self:
        """Keep resources that members can see now: published, or scheduled for a time that has come."""
        return self.filter(LISTED, models.Q(status=Status.PUBLISHED) | models.Q(publish_at__lte=Now()))

    def find(self, resource_id: str) -> "Resource | None":
        """Find a resource by an id from an address, which may be any text."""
        return None if "\0" in resource_id else self.filter(pk=resource_id).first()


class ResourceTag(models.Model):
    """A tag from the list that staff manage. Addresses contain its `slug`."""

    id = CuidField()
    name = models.TextField()
    slug = models.TextField()
    created_at = TimestampField(db_column="createdAt", db_default=CurrentTimestamp(), editable=False)

    class Meta:
        db_table = "ResourceTag"
        constraints = [
            UniqueIndex(name="ResourceTag_name_key", fields=["name"]),
            UniqueIndex(name="ResourceTag_slug_key", fields=["slug"]),
        ]

    def __str__(self) -> str:
        return self.name


class Resource(models.Model):
    """A document or video in the library: a stored file, or a link to an https address.

    The columns from `storage_path` to `current_version` describe the stored file, and are all NULL for a link.
    `file_url` is the resource's own page on this site, or for a link the address itself. Triggers maintain
    `download_count`: never write it. "Most downloaded" and "trending" are ordered by `ranked_downloads` and
    `recent_downloads`, which `library.refresh` updates.
    """

    id = CuidField()
    title = models.TextField()
    description = models.TextField()
    category = EnumField(enum="ResourceCategory", choices=Category)
    type = EnumField(enum="ResourceType", choices=Type)
    file_url = models.TextField("file URL", db_column="fileUrl")
    thumbnail_url = models.TextField("thumbnail URL", db_column="thumbnailUrl", null=True, blank=True)
    is_featured = models.BooleanField("featured", db_column="isFeatured", db_default=False)
    download_count = models.IntegerField(db_column="downloadCount", db_default=0, editable=False)
    created_at = TimestampField(db_column="createdAt", db_default=CurrentTimestamp(), editable=False)
    updated_at = TimestampField(db_column="updatedAt", auto_now=True)
    status = EnumField(enum="ResourceStatus", choices=Status, db_default=Status.PUBLISHED.value)
    publish_at = TimestampField(db_column="publishAt", null=True, blank=True)
    author = models.TextField(null=True, blank=True)
    storage_path = models.TextField(db_column="storagePath", null=True, blank=True, editable=False)
    file_name = models.TextField(db_column="fileName", null=True, blank=True, editable=False)
    file_size = models.BigIntegerField(db_column="fileSize", null=True, blank=True, editable=False)
    mime_type = models.TextField("media type", db_column="mimeType", null=True, blank=True, editable=False)
    sha256 = models.TextField("SHA-256", null=True, blank=True, editable=False)
    current_version = models.IntegerField(db_column="currentVersion", null=True, blank=True, editable=False)
    uploaded_by = models.TextField(db_column="uploadedBy", null=True, blank=True, editable=False)
    thumbnail_path = models.TextField(db_column="thumbnailPath", null=True, blank=True, editable=False)
    deleted_at = TimestampField(db_column="deletedAt", null=True, blank=True, editable=False)
    ranked_downloads = models.IntegerField(db_column="rankedDownloads", db_default=0, editable=False)
    recent_downloads = models.IntegerField(db_column="recentDownloads", db_default=0, editable=False)
    tags: "models.ManyToManyField[ResourceTag, ResourceTagging]" = models.ManyToManyField(
        ResourceTag, through="ResourceTagging", related_name="resources", blank=True
    )

    objects = ResourceQuerySet.as_manager()

    class Meta:
        db_table = "Resource"
        constraints = [
            models.CheckConstraint(
                name="Resource_publishAt_check",
                condition=~models.Q(status=Status.SCHEDULED) | models.Q(publish_at__isnull=False),
                violation_error_message="A scheduled resource needs the time at which it is published.",
            ),
            models.CheckConstraint(
                name="Resource_file_check",
                condition=models.Q(
                    storage_path__isnull=True,
                    file_name__isnull=True,
                    file_size__isnull=True,
                    mime_type__isnull=True,
                    sha256__isnull=True,
                    current_version__isnull=True,
                )
                | models.Q(
                    storage_path__isnull=False,
                    file_name__isnull=False,
                    file_size__gt=0,
                    mime_type__isnull=False,
                    sha256__isnull=False,
                    current_version__gt=0,
                ),
                violation_error_message="A stored file has a path, name, size, media type, SHA-256 and version.",
            ),
        ]
        indexes = [
            Index(name="Resource_category_idx", fields=["category"]),
            Index(name="Resource_isFeatured_idx", fields=["is_featured"]),
            Index(name="Resource_type_idx", fields=["type"]),
            Index(SHOWN_AT.desc(), models.F("id").desc(), name="Resource_shownAt_idx", condition=LISTED),
            Index(name="Resource_rankedDownloads_idx", fields=["-ranked_downloads", "-id"], condition=LISTED),
            Index(name="Resource_recentDownloads_idx", fields=["-recent_downloads", "-id"], condition=LISTED),
            GinIndex(SEARCHED, name="Resource_search_idx"),
            GinIndex(SEARCHED_TITLE, name="Resource_searchTitle_idx"),
        ]
        triggers = [triggers.COUNT_FROM_ZERO, triggers.KEEP_COUNT]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("resources:resource", args=[self.pk])

    @property
    def thumbnail_address(self) -> str:
        """The picture's address on this site, or "". The content security policy allows no other pictures."""
        name = (self.thumbnail_path or "").rpartition("/")[2]
        try:
            return reverse("resources:thumbnail", args=[name])
        except NoReverseMatch:  # no picture, or a name that is not ours
            return ""

    @property
    def is_link(self) -> bool:
        return self.storage_path is None


class ResourceTagging(models.Model):
    """One tag of one resource. A tag in use cannot be deleted: first remove it from its resources, or merge it."""

    id = CuidField()
    resource = models.ForeignKey(
        Resource,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="resourceId",
        related_name="taggings",
    )
    tag = models.ForeignKey(
        ResourceTag,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="tagId",
        related_name="taggings",
    )

    class Meta:
        db_table = "ResourceTagging"
        constraints = [
            UniqueIndex(name="ResourceTagging_resourceId_tagId_key", fields=["resource", "tag"]),
            ForeignKeyConstraint(
                name="ResourceTagging_resourceId_fkey",
                field="resource",
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
            ForeignKeyConstraint(
                name="ResourceTagging_tagId_fkey",
                field="tag",
                on_delete=Action.RESTRICT,
                on_update=Action.CASCADE,
            ),
        ]
        indexes = [Index(name="ResourceTagging_tagId_resourceId_idx", fields=["tag", "resource"])]

    def __str__(self) -> str:
        return f"{self.tag_id} on {self.resource_id}"


class ResourceVersion(models.Model):
    """A file that a resource has or had. The row stays when the file is purged from the storage.

    `created_at` is the time since when members get this file. It is read after the resource is locked.
    """

    id = CuidField()
    resource = models.ForeignKey(
        Resource,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="resourceId",
        related_name="versions",
    )
    number = models.IntegerField()
    note = models.TextField(blank=True, db_default="")
    storage_path = models.TextField(db_column="storagePath")
    file_name = models.TextField(db_column="fileName")
    file_size = models.BigIntegerField(db_column="fileSize")
    mime_type = models.TextField("media type", db_column="mimeType")
    sha256 = models.TextField("SHA-256")
    uploaded_by = models.TextField(db_column="uploadedBy", null=True, blank=True)
    created_at = TimestampField(db_column="createdAt", db_default=CurrentTimestamp(), editable=False)
    purged_at = TimestampField(db_column="purgedAt", null=True, blank=True)

    class Meta:
        db_table = "ResourceVersion"
        constraints = [
            UniqueIndex(name="ResourceVersion_resourceId_number_key", fields=["resource", "number"]),
            UniqueIndex(name="ResourceVersion_storagePath_key", fields=["storage_path"]),
            models.CheckConstraint(
                name="ResourceVersion_number_check", condition=models.Q(number__gt=0, file_size__gt=0)
            ),
            ForeignKeyConstraint(
                name="ResourceVersion_resourceId_fkey",
                field="resource",
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number} of {self.resource_id}"


class ResourceDownload(models.Model):
    """One download of a resource by a member."""

    id = CuidField()
    member = models.ForeignKey(
        Member,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="memberId",
        related_name="resource_downloads",
    )
    resource = models.ForeignKey(
        Resource,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        db_column="resourceId",
        related_name="downloads",
    )
    downloaded_at = TimestampField(db_column="downloadedAt", db_default=CurrentTimestamp(), editable=False)

    class Meta:
        db_table = "ResourceDownload"
        constraints = [
            ForeignKeyConstraint(
                name="ResourceDownload_memberId_fkey",
                field="member",
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
            ForeignKeyConstraint(
                name="ResourceDownload_resourceId_fkey",
                field="resource",
                on_delete=Action.CASCADE,
                on_update=Action.CASCADE,
            ),
        ]
        indexes = [
            Index(name="ResourceDownload_downloadedAt_idx", fields=["downloaded_at"]),
            Index(name="ResourceDownload_memberId_idx", fields=["member"]),
            Index(name="ResourceDownload_resourceId_idx", fields=["resource"]),
            Index(
                name="ResourceDownload_memberId_resourceId_downloadedAt_idx",
                fields=["member", "resource", "-downloaded_at"],
            ),
            Index(name="ResourceDownload_resourceId_downloadedAt_idx", fields=["resource", "-downloaded_at"]),
        ]
        triggers = [
            triggers.COUNT_DOWNLOADS,
            triggers.UNCOUNT_DOWNLOADS,
            triggers.MOVE_COUNT,
            triggers.UNCOUNT_ALL,
        ]

    def __str__(self) -> str:
        return f"{self.resource_id} by {self.member_id}"


class ResourceSearchMiss(models.Model):
    """How often a search for these words found nothing on a day (UTC). The row does not say which members searched."""

    id = CuidField()
    day = models.DateField()
    words = models.TextField()
    searches = models.IntegerField(db_default=1)

    class Meta:
        db_table = "ResourceSearchMiss"
        verbose_name = "search without results"
        verbose_name_plural = "searches without results"
        constraints = [UniqueIndex(name="ResourceSearchMiss_day_words_key", fields=["day", "words"])]

    def __str__(self) -> str:
        return f"{self.words}: {self.searches} on {self.day}"
