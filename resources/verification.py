"""The checks of `manage.py verify_schema` for the library."""

from collections.abc import Iterator

from council import verification
from council.verification import Database, Finding, Sample, failed, note, warning
from resources import leftovers, storage

SAMPLE_RESOURCES = 500
BATCH_RESOURCES = 50
SHOWN = 5

# Half of the sample are the most downloaded, where a wrong count does most harm. The others are chosen at random.
SAMPLE = """
    (SELECT id FROM "Resource" ORDER BY "downloadCount" DESC LIMIT %(half)s)
    UNION
    (SELECT id FROM "Resource" ORDER BY random() LIMIT %(half)s)
"""
NEXT = 'SELECT id FROM "Resource" WHERE id > %(after)s ORDER BY id LIMIT %(rows)s'
COMPARE = """
    SELECT resource.id, resource."downloadCount", rows.downloads
      FROM "Resource" AS resource
     CROSS JOIN LATERAL (SELECT count(*) AS downloads
                           FROM "ResourceDownload" AS download
                          WHERE download."resourceId" = resource.id) AS rows
     WHERE resource.id = ANY(%(ids)s)
       AND resource."downloadCount" <> rows.downloads
     ORDER BY resource.id
"""
# NULL makes the trigger count the rows. It ignores any other value.
CURE = 'UPDATE "Resource" SET "downloadCount" = NULL WHERE id = {};'


@verification.register("download counts", own_transactions=True)
def counts(database: Database) -> Iterator[Finding]:
    """Check that each resource's download count is the number of its rows.

    Checks the most downloaded resources and random others, for at most a second and at most 500; all with `--full`.
    Each batch has its own transaction, so that none is open for long.
    """
    sample, wrong = _resources(database), []
    for ids in sample.batches():
        with database.transaction():
            wrong += database.rows(COMPARE, ids=ids)
    for resource_id, count, rows in wrong[:SHOWN]:
        yield failed(
            f"resource {resource_id}: downloadCount {count} → {rows}", CURE.format(_literal(resource_id))
        )
    if len(wrong) > SHOWN:
        yield failed(
            f"{len(wrong) - SHOWN} more of {sample.compared:,} resources compared",
            CURE.partition(" WHERE")[0]
            + " WHERE id IN ("
            + ", ".join(_literal(resource_id) for resource_id, *_ in wrong[SHOWN:])
            + ");",
        )
    yield note(f"of {sample.compared:,} resources, {sample.extent}")


def _resources(database: Database) -> Sample:
    half = SAMPLE_RESOURCES // 2
    return Sample(
        database,
        draw=lambda: [row[0] for row in database.rows(SAMPLE, half=half)],
        next_batch=lambda after: [row[0] for row in database.rows(NEXT, after=after, rows=BATCH_RESOURCES)],
        limit=half,  # a larger table gives at least this many, because the halves may overlap
        batch=BATCH_RESOURCES,
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


SAMPLE_FILES = 20
CLEAN = "manage.py clean_storage"


@verification.register("library files", own_transactions=True)
def files(database: Database) -> Iterator[Finding]:
    """Check that the storage has the files of the newest 20 versions.

    With `--full`, check the files of all rows, and also that each file has a row.
    """
    try:
        with database.transaction():
            if database.is_full:
                looked_for = "all"
                missing = list(leftovers.missing())
                unused = list(leftovers.unused())
            else:
                number, missing = leftovers.sample_missing(SAMPLE_FILES)
                looked_for, unused = f"the newest {number}; --full checks all", []
    except storage.Unavailable as error:
        yield warning(
            f"not checked: {error}", "set S3_ENDPOINT_URL and the other four S3_ variables, or LIBRARY_FOLDER"
        )
        return
    for row in missing[:SHOWN]:
        yield failed(f"{row.path} is missing: {row.description}", CLEAN)
    if len(missing) > SHOWN:
        yield failed(f"{len(missing) - SHOWN} more files are missing", CLEAN)
    if unused:
        yield warning(f"{len(unused)} files have no row, such as {unused[0].path}", f"{CLEAN} --remove")
    yield note(f"checked the files of rows: {looked_for}")
