"""The database counts the downloads of a resource, whoever writes them.

Locks: SHARE ROW EXCLUSIVE on Resource and ResourceDownload, for an instant; writing waits.
Safe with the code before it: yes, they refuse nothing; a count of its own is no longer taken.
Way back: puts back what was there before (ACCESS EXCLUSIVE for an instant where a trigger goes).
"""

from django.db import migrations

from council import zero_downtime
from council.postgres import triggers

RESOURCE_COUNT_FROM_ZERO = """\
BEGIN
  NEW."downloadCount" = 0;
  RETURN NEW;
END"""

RESOURCE_KEEP_COUNT = """\
BEGIN
  IF NEW."downloadCount" IS NULL THEN
    NEW."downloadCount" = (SELECT count(*)
                             FROM @extschema@."ResourceDownload" AS download
                            WHERE download."resourceId" = OLD.id);
  ELSE
    NEW."downloadCount" = OLD."downloadCount";
  END IF;
  RETURN NEW;
END"""

COUNT_RESOURCE_DOWNLOADS = """\
DECLARE
  counted record;
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
  counted record;
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

MOVE_RESOURCE_DOWNLOAD = """\
BEGIN
  IF EXISTS (SELECT FROM @extschema@."Resource" AS resource WHERE resource.id = OLD."resourceId") THEN
    PERFORM FROM @extschema@."Resource" AS resource
      WHERE resource.id IN (OLD."resourceId", NEW."resourceId")
      ORDER BY resource.id
        FOR NO KEY UPDATE;
    UPDATE @extschema@."Resource" AS resource
       SET "downloadCount" = resource."downloadCount"
                             + CASE resource.id WHEN NEW."resourceId" THEN 1 ELSE -1 END
     WHERE resource.id IN (OLD."resourceId", NEW."resourceId");
  END IF;
  RETURN NULL;
END"""

UNCOUNT_ALL_RESOURCE_DOWNLOADS = """\
BEGIN
  UPDATE @extschema@."Resource" SET "downloadCount" = 0 WHERE "downloadCount" <> 0;
  RETURN NULL;
END"""


class Migration(migrations.Migration):
    accepts = {"deadlock": "There are few downloads at a time, and migrate begins anew if one is in the way."}
    dependencies = [("council", "0010_sign_in_failures"), ("resources", "0011_library_indexes")]
    operations = [
        zero_downtime.AddTrigger(
            model_name="resource",
            trigger=triggers.CompiledTrigger(
                name="trg_resource_count_from_zero",
                sql=triggers.TriggerSqlV2(
                    body=RESOURCE_COUNT_FROM_ZERO,
                    condition='WHEN (NEW."downloadCount" IS DISTINCT FROM 0)',
                    function="count_resource_from_zero",
                    hash="9013fb7a9a517bec48e3e75984b0c61ee491099b",
                    level="ROW",
                    name="trg_resource_count_from_zero",
                    operation="INSERT",
                    settings={"search_path": ""},
                    table="Resource",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="resource",
            trigger=triggers.CompiledTrigger(
                name="trg_resource_keep_count",
                sql=triggers.TriggerSqlV2(
                    body=RESOURCE_KEEP_COUNT,
                    condition='WHEN (NEW."downloadCount" IS DISTINCT FROM OLD."downloadCount" AND pg_trigger_depth() = 0)',
                    function="keep_resource_count",
                    hash="b9d37110e730a84cd4bd6214eb78c241954de068",
                    level="ROW",
                    name="trg_resource_keep_count",
                    operation="UPDATE",
                    settings={"enable_seqscan": "off", "jit": "off", "search_path": ""},
                    table="Resource",
                    when="BEFORE",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="resourcedownload",
            trigger=triggers.CompiledTrigger(
                name="trg_count_resource_downloads",
                sql=triggers.TriggerSqlV1(
                    body=COUNT_RESOURCE_DOWNLOADS,
                    function="count_resource_downloads",
                    hash="940129cdac00f52665c6d62d367fb04e452e260e",
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
        zero_downtime.AddTrigger(
            model_name="resourcedownload",
            trigger=triggers.CompiledTrigger(
                name="trg_uncount_resource_downloads",
                sql=triggers.TriggerSqlV1(
                    body=UNCOUNT_RESOURCE_DOWNLOADS,
                    function="uncount_resource_downloads",
                    hash="64915c2ddf47dffc63d1573593acad4f412eb0f4",
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
        zero_downtime.AddTrigger(
            model_name="resourcedownload",
            trigger=triggers.CompiledTrigger(
                name="trg_move_resource_download",
                sql=triggers.TriggerSqlV2(
                    body=MOVE_RESOURCE_DOWNLOAD,
                    condition='WHEN (OLD."resourceId" IS DISTINCT FROM NEW."resourceId")',
                    function="move_resource_download",
                    hash="3e508424f41dc0f90c123b54a0e1fa8bf1978d0c",
                    level="ROW",
                    name="trg_move_resource_download",
                    operation="UPDATE",
                    settings={"search_path": ""},
                    table="ResourceDownload",
                    when="AFTER",
                ),
            ),
        ),
        zero_downtime.AddTrigger(
            model_name="resourcedownload",
            trigger=triggers.CompiledTrigger(
                name="trg_uncount_all_resource_downloads",
                sql=triggers.TriggerSqlV1(
                    body=UNCOUNT_ALL_RESOURCE_DOWNLOADS,
                    function="uncount_all_resource_downloads",
                    hash="cd56a62f1681bd50b48934305f8fce482e89a3f4",
                    level="STATEMENT",
                    name="trg_uncount_all_resource_downloads",
                    operation="TRUNCATE",
                    settings={"search_path": ""},
                    table="ResourceDownload",
                    when="AFTER",
                ),
            ),
        ),
    ]
