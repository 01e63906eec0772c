"""The first version of the submissions that were there before the history was kept.

Its moment is that of the submission's last change. Its company is the member's of today, as nobody knows the former one.

Locks: the rows of up to 1,000 submissions at a time, for milliseconds, and none that somebody else has locked.
Safe with the code before it: yes. Way back: nothing to do.
"""

from django.db import migrations

from council import zero_downtime

FILL = """
INSERT INTO "BenchmarkVersion" ("memberId", category, number, data, "companyKey", "recordedAt")
SELECT submission."memberId",
       submission.category,
       1,
       benchmark_answers(submission.data),
       coalesce('team:' || member."teamId", 'customer:' || member."stripeCustomerId", 'member:' || member.id),
       least(submission."updatedAt", CURRENT_TIMESTAMP AT TIME ZONE 'UTC')
  FROM "BenchmarkSubmission" AS submission
  JOIN "Member" AS member ON member.id = submission."memberId"
 WHERE submission.id = ANY(%(keys)s)
   AND NOT EXISTS (SELECT
                     FROM "BenchmarkVersion" AS version
                    WHERE version."memberId" = submission."memberId" AND version.category = submission.category)
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("benchmarks", "0011_history_triggers")]
    operations = [zero_downtime.UpdateInBatches(model_name="benchmarksubmission", sql=FILL)]
