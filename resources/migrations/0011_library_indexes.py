"""The library in three orders and by words; downloads by member and by resource; resources by tag.

Locks: SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits.
Safe with the code before it: yes.
Way back: drops the indexes concurrently.
"""

import django.contrib.postgres.search
import django.db.models.functions.comparison
import django.db.models.functions.text
from django.db import migrations, models

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("council", "0010_sign_in_failures"), ("resources", "0010_validate_resource_checks")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="resourcedownload",
            index=indexes.Index(
                fields=["member", "resource", "-downloaded_at"],
                name="ResourceDownload_memberId_resourceId_downloadedAt_idx",
            ),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resourcedownload",
            index=indexes.Index(
                fields=["resource", "-downloaded_at"], name="ResourceDownload_resourceId_downloadedAt_idx"
            ),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resource",
            index=indexes.Index(
                models.OrderBy(
                    django.db.models.functions.comparison.Coalesce("publish_at", "created_at"),
                    descending=True,
                ),
                models.OrderBy(models.F("id"), descending=True),
                condition=models.Q(
                    ("deleted_at__isnull", True), models.Q(("status", "DRAFT"), _negated=True)
                ),
                name="Resource_shownAt_idx",
            ),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resource",
            index=indexes.Index(
                condition=models.Q(
                    ("deleted_at__isnull", True), models.Q(("status", "DRAFT"), _negated=True)
                ),
                fields=["-ranked_downloads", "-id"],
                name="Resource_rankedDownloads_idx",
            ),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resource",
            index=indexes.Index(
                condition=models.Q(
                    ("deleted_at__isnull", True), models.Q(("status", "DRAFT"), _negated=True)
                ),
                fields=["-recent_downloads", "-id"],
                name="Resource_recentDownloads_idx",
            ),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resource",
            index=indexes.GinIndex(
                django.contrib.postgres.search.CombinedSearchVector(
                    django.contrib.postgres.search.CombinedSearchVector(
                        django.contrib.postgres.search.SearchVector("title", config="english", weight="A"),
                        "||",
                        django.contrib.postgres.search.SearchVector("author", config="english", weight="B"),
                        django.contrib.postgres.search.SearchConfig("english"),
                    ),
                    "||",
                    django.contrib.postgres.search.SearchVector(
                        django.db.models.functions.text.Left("description", 20000),
                        config="english",
                        weight="C",
                    ),
                    django.contrib.postgres.search.SearchConfig("english"),
                ),
                name="Resource_search_idx",
            ),
        ),
        zero_downtime.AddIndexConcurrently(
            model_name="resourcetagging",
            index=indexes.Index(fields=["tag", "resource"], name="ResourceTagging_tagId_resourceId_idx"),
        ),
    ]
