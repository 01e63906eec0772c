"""Counts the downloads that were there before the triggers.

Locks: the rows of up to 100 resources at a time, for milliseconds, and none that somebody else has locked.
Safe with the code before it: yes. Way back: nothing to do.
"""

from django.db import migrations

from council import zero_downtime

# NULL has the trigger count the rows of each resource, which is locked by then.
COUNT = """
UPDATE "Resource" AS resource
   SET "downloadCount" = NULL
 WHERE resource.id = ANY(%(keys)s)
   AND resource."downloadCount"
       <> (SELECT count(*) FROM "ResourceDownload" AS download WHERE download."resourceId" = resource.id)
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("resources", "0012_download_count_triggers")]
    operations = [zero_downtime.UpdateInBatches(model_name="resource", sql=COUNT, batch_rows=100)]
