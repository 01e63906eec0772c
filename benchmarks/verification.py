"""Checks of `manage.py verify_schema` about benchmarks. They report numbers, and no members."""

from collections.abc import Iterator

from council import verification
from council.verification import Database, Finding, failed, note
from gamification.verification import members

# Finds members whose current answers, or lack of answers, differ from the newest version.
DIFFERING = """
SELECT coalesce(submission."memberId", version."memberId") AS member_id,
       coalesce(submission.category, version.category) AS category,
       CASE WHEN submission.id IS NOT NULL THEN benchmark_answers(submission.data) END AS answers,
       coalesce(version.number, 0) AS number
  FROM (SELECT *
          FROM "BenchmarkSubmission"
         WHERE {members}) AS submission
  FULL JOIN (SELECT DISTINCT ON ("memberId", category) *
               FROM "BenchmarkVersion"
              WHERE {members}
              ORDER BY "memberId", category, number DESC) AS version
    ON version."memberId" = submission."memberId" AND version.category = submission.category
 WHERE CASE WHEN submission.id IS NULL THEN NOT version."isWithdrawn"
            WHEN version.id IS NULL OR version."isWithdrawn" THEN true
            ELSE version.data - 'version' IS DISTINCT FROM benchmark_answers(submission.data) - 'version' END
"""
COUNT = f"""
SELECT category::text, count(*)
  FROM ({DIFFERING.format(members='"memberId" = ANY(%(ids)s)')}) AS differing
 GROUP BY category
 ORDER BY category
"""  # noqa: S608  # our own text
CURE = f"""\
INSERT INTO "BenchmarkVersion" ("memberId", category, number, data, "isWithdrawn", "companyKey", "recordedAt")
SELECT member.id, differing.category, differing.number + 1, coalesce(answers, '{{}}'), answers IS NULL,
       coalesce('team:' || "teamId", 'customer:' || "stripeCustomerId", 'member:' || member.id),
       now() AT TIME ZONE 'UTC'
  FROM ({DIFFERING.format(members="true").strip()}) AS differing
  JOIN "Member" AS member ON member.id = differing.member_id;"""  # noqa: S608


@verification.register("benchmark history", own_transactions=True)
def history(database: Database) -> Iterator[Finding]:
    """Check that the newest version of a member's answers equals the submission.

    Compares members drawn at random, as many as a second allows and at most 2,000; with `--full`, all members. Each
    batch is a transaction, so that none is open for long.
    """
    sample, wrong = members(database), dict[str, int]()
    for ids in sample.batches():
        with database.transaction():
            for category, number in database.rows(COUNT, ids=ids):
                wrong[category] = wrong.get(category, 0) + number
    for category, number in wrong.items():
        yield failed(f"{category}: members whose answers differ from the newest version: {number}", CURE)
    yield note(f"of {sample.compared:,} members, {sample.extent}")
