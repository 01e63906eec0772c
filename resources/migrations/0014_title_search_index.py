"""Indexes: Resource_searchTitle_idx.

Locks: SHARE UPDATE EXCLUSIVE on each table while its index is built; nothing waits.
Safe with the code before it: yes.
Way back: drops the indexes concurrently.
"""

import django.contrib.postgres.search
from django.db import migrations

from council import zero_downtime
from council.postgres import indexes


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("resources", "0013_count_downloads")]
    operations = [
        zero_downtime.AddIndexConcurrently(
            model_name="resource",
            index=indexes.GinIndex(
                django.contrib.postgres.search.SearchVector("title", config="english"),
                name="Resource_searchTitle_idx",
            ),
        ),
    ]
