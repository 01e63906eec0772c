"""Write the types in the triggers that count downloads with their schema: a session's temporary types came first.

Locks: SHARE ROW EXCLUSIVE on ResourceDownload, for an instant; writing waits.
Safe with the code before it: yes.
Way back: puts back what was there before (ACCESS EXCLUSIVE for an instant where a trigger goes).
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

COUNT_RESOURCE_DOWNLOADS = """\
DECLARE
  counted pg_catalog.record;
BEGIN
  FOR counted IN
    SELECT "resourceId" AS id, count(*) AS downloads FROM new_rows GROUP BY "resourceId" ORDER BY "resourceId"
  LOOP
    UPDATE @extschema@."Resource" AS resource
       SET "downloadCount" = resource."downloadCount" + counted.downloads
     WHERE resource.id = counted.id;
  END LOOP;
  RETURN NULL;
END"""

UNCOUNT_RESOURCE_DOWNLOADS = """\
DECLARE
  counted pg_catalog.record;
BEGIN
  FOR counted IN
    SELECT "resourceId" AS id, count(*) AS downloads FROM old_rows GROUP BY "resourceId" ORDER BY "resourceId"
  LOOP
    UPDATE @extschema@."Resource" AS resource
       SET "downloadCount" = resource."downloadCount" - counted.downloads
     WHERE resource.id = counted.id;
  END LOOP;
  RETURN NULL;
END"""


class Migration(migrations.Migration):
    dependencies = [("council", "0015_figure_table"), ("resources", "0014_title_search_index")]
    operations = [
        zero_downtime.ReplaceTrigger(
            model_name="resourcedownload",
            trigger=triggers.CompiledTrigger(
                name="trg_count_resource_downloads",
                sql=triggers.TriggerSqlV1(
                    body=COUNT_RESOURCE_DOWNLOADS,
                    function="count_resource_downloads",
                    hash="3564691aa45b070ada723c0fbe363a9e1054e315",
                    level="STATEMENT",
                    name="trg_count_resource_downloads",
                    operation="INSERT",
                    referencing="REFERENCING NEW TABLE AS new_rows",
                    settings={"enable_seqscan": "off", "jit": "off", "search_path": ""},
                    table="ResourceDownload",
                    when="AFTER",
                ),
            ),
        ),
        zero_downtime.ReplaceTrigger(
            model_name="resourcedownload",
            trigger=triggers.CompiledTrigger(
                name="trg_uncount_resource_downloads",
                sql=triggers.TriggerSqlV1(
                    body=UNCOUNT_RESOURCE_DOWNLOADS,
                    function="uncount_resource_downloads",
                    hash="76cc9fb674faed1c13a4441a6645838277976b92",
                    level="STATEMENT",
                    name="trg_uncount_resource_downloads",
                    operation="DELETE",
                    referencing="REFERENCING OLD TABLE AS old_rows",
                    settings={"enable_seqscan": "off", "jit": "off", "search_path": ""},
                    table="ResourceDownload",
                    when="AFTER",
                ),
            ),
        ),
    ]
