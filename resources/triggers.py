"""Triggers that maintain `Resource.downloadCount`, the number of rows in `ResourceDownload`, whoever writes the rows.

They lock resources in the order of their ids, and always before the member who gets points for a download. Query plans
are fixed for the same reasons as in the ledger's triggers (gamification/triggers.py).
"""

import pgtrigger

from council.postgres.triggers import Trigger

SETTINGS = {"enable_seqscan": "off", "jit": "off"}

COUNT_DOWNLOADS = Trigger(
    name="trg_count_resource_downloads",
    function="count_resource_downloads",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Insert,
    referencing=pgtrigger.Referencing(new="new_rows"),
    settings=SETTINGS,
    func="""
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
        END
    """,
)

# This also runs when deleting a member deletes the downloads. The resource itself may be deleted by then.
UNCOUNT_DOWNLOADS = Trigger(
    name="trg_uncount_resource_downloads",
    function="uncount_resource_downloads",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Delete,
    referencing=pgtrigger.Referencing(old="old_rows"),
    settings=SETTINGS,
    func="""
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
        END
    """,
)

# If a resource gets a new id, its downloads follow by cascade, and its row already has the right count. Then there is
# no resource with the old id, and nothing to do.
MOVE_COUNT = Trigger(
    name="trg_move_resource_download",
    function="move_resource_download",
    level=pgtrigger.Row,
    when=pgtrigger.After,
    operation=pgtrigger.Update,
    condition=pgtrigger.Condition('OLD."resourceId" IS DISTINCT FROM NEW."resourceId"'),
    func="""
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
        END
    """,
)

UNCOUNT_ALL = Trigger(
    name="trg_uncount_all_resource_downloads",
    function="uncount_all_resource_downloads",
    level=pgtrigger.Statement,
    when=pgtrigger.After,
    operation=pgtrigger.Truncate,
    func="""
        BEGIN
          UPDATE @extschema@."Resource" SET "downloadCount" = 0 WHERE "downloadCount" <> 0;
          RETURN NULL;
        END
    """,
)

# A new resource has no downloads yet, whatever count the row has.
COUNT_FROM_ZERO = Trigger(
    name="trg_resource_count_from_zero",
    function="count_resource_from_zero",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Insert,
    condition=pgtrigger.Condition('NEW."downloadCount" IS DISTINCT FROM 0'),
    func="""
        BEGIN
          NEW."downloadCount" = 0;
          RETURN NEW;
        END
    """,
)

# The triggers above update a resource from inside a trigger. Any other statement that changes the count, such as the
# gateway's "increment", would count a download twice, so its value is ignored. NULL, which the column cannot hold,
# means: count the rows again. The row is locked by then, so nobody else can change the count meanwhile.
KEEP_COUNT = Trigger(
    name="trg_resource_keep_count",
    function="keep_resource_count",
    level=pgtrigger.Row,
    when=pgtrigger.Before,
    operation=pgtrigger.Update,
    condition=pgtrigger.Condition(
        'NEW."downloadCount" IS DISTINCT FROM OLD."downloadCount" AND pg_trigger_depth() = 0'
    ),
    settings=SETTINGS,
    func="""
        BEGIN
          IF NEW."downloadCount" IS NULL THEN
            NEW."downloadCount" = (SELECT count(*)
                                     FROM @extschema@."ResourceDownload" AS download
                                    WHERE download."resourceId" = OLD.id);
          ELSE
            NEW."downloadCount" = OLD."downloadCount";
          END IF;
          RETURN NEW;
        END
    """,
)
