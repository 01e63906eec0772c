"""Keys that are missing in the gateway's ledger rows, and are added later.

A trigger gives a row of the gateway the key of what it pays for (`triggers.KEYS`), except while another transaction is
paying with that key. If that transaction rolls back, no row has the key.
"""

from django.db import OperationalError, connection, transaction
from psycopg import errors

from council.models import Member
from gamification.models import PointTransaction

LOOKED_BACK_DAYS = 7
# The member is locked here, and a transaction that holds the key may wait for that lock. So do not wait for the key.
LOCK_TIMEOUT = "SET LOCAL lock_timeout TO '50ms'"
UNKEYED = """
    SELECT DISTINCT ON (key) id, "memberId", key
      FROM (SELECT id, "memberId", "createdAt", point_transaction_key(action, "memberId", metadata) AS key
              FROM "PointTransaction"
             WHERE "idempotencyKey" IS NULL
               AND "reversesId" IS NULL
               AND points > 0
               AND action IN ('intro_completed', 'benchmark_submission', 'resource_download')
               AND "createdAt" >= (now() AT TIME ZONE 'UTC') - make_interval(days => %(days)s)
               AND (%(member_id)s::text IS NULL OR "memberId" = %(member_id)s)) AS entry
     WHERE key IS NOT NULL
       AND NOT EXISTS (SELECT FROM "PointTransaction" AS other WHERE other."idempotencyKey" = entry.key)
     ORDER BY key, "createdAt", id
"""


def give() -> tuple[int, int]:
    """Give each missing key to the first row that it belongs to. Returns the numbers of keys and of members left out.

    Looks at the last 7 days. Leaves a member out while another transaction is paying them.
    """
    given = left = 0
    for member_id in sorted({member_id for _, member_id, _ in _unkeyed()}):
        try:
            given += _give(member_id)
        except OperationalError as error:
            if not isinstance(error.__cause__, errors.LockNotAvailable | errors.DeadlockDetected):
                raise
            left += 1
    return given, left


def _unkeyed(member_id: str | None = None) -> list[tuple[str, str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(UNKEYED, {"days": LOOKED_BACK_DAYS, "member_id": member_id})
        return [(row_id, member, key) for row_id, member, key in cursor.fetchall()]


def _give(member_id: str) -> int:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LOCK_TIMEOUT)
        # Lock the member first, as the trigger does, so that two rows without keys never ask for the same key.
        Member.objects.select_for_update(no_key=True).filter(pk=member_id).values_list("pk").first()
        found = _unkeyed(member_id)
        for row_id, _, key in found:
            PointTransaction.objects.filter(pk=row_id).update(idempotency_key=key)
        return len(found)
