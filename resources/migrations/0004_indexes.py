"""The library by category, type and feature; downloads by time, member and resource.

Locks: SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits.
Safe with the code before it: yes. Way back: drops the indexes concurrently.
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("resources", "0003_validate_fks")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="resource",
            index=indexes.Index(fields=["category"], name="Resource_category_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resource",
            index=indexes.Index(fields=["is_featured"], name="Resource_isFeatured_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resource",
            index=indexes.Index(fields=["type"], name="Resource_type_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resourcedownload",
            index=indexes.Index(fields=["downloaded_at"], name="ResourceDownload_downloadedAt_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resourcedownload",
            index=indexes.Index(fields=["member"], name="ResourceDownload_memberId_idx"),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resourcedownload",
            index=indexes.Index(fields=["resource"], name="ResourceDownload_resourceId_idx"),
        ),
    ]
