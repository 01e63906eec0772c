"""The library: what members can download, and who did."""

from django.db import models

from council.models import Member
from council.postgres.constraints import Action, ForeignKeyConstraint
from council.postgres.fields import CuidField, CurrentTimestamp, EnumField, TimestampField
from council.postgres.indexes import Index


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


class Resource(models.Model):
    """A document or video in the library."""

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

    class Meta:
        db_table = "Resource"
        indexes = [
            Index(name="Resource_category_idx", fields=["category"]),
            Index(name="Resource_isFeatured_idx", fields=["is_featured"]),
            Index(name="Resource_type_idx", fields=["type"]),
        ]

    def __str__(self) -> str:
        return self.title


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
        ]

    def __str__(self) -> str:
        return f"{self.resource_id} by {self.member_id}"
