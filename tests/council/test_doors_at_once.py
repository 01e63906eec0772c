"""The doors when two come at once: what one waits for, and what it finds then."""

from concurrent.futures import ThreadPoolExecutor

from django.db import connection

from council import throttle
from tests.databases import Database


def test_rows_are_claimed_in_the_order_of_their_keys(migrated: Database) -> None:
    """So that two who need the same rows wait for each other and not in a circle."""
    taken = "INSERT INTO council_signinfailures (key, failures, forgotten_at, failed_at) VALUES (%s, 1, now(), '{}')"

    def claim() -> None:
        try:
            throttle._claim(["c", "b", "a"], window_seconds=60)
        finally:
            connection.close()

    with migrated.as_default_connection(), migrated.connect() as first, ThreadPoolExecutor(1) as pool:
        with first.transaction(force_rollback=True):
            first.execute(taken, ["a"])
            second = pool.submit(claim)
            migrated.wait_for_waiting(1)
            first.execute("SET LOCAL lock_timeout = '1s'")
            for key in ("b", "c"):  # which the second does not have yet
                first.execute(taken, [key])
        second.result(timeout=30)


def test_what_is_forgotten_and_in_use_is_left_for_another_time(migrated: Database) -> None:
    migrated.execute(
        """INSERT INTO council_signinfailures (key, failures, forgotten_at, failed_at)
           VALUES ('a', 1, now(), '{}'), ('b', 1, now(), '{}'), ('c', 1, now() + interval '1 hour', '{}')"""
    )
    with migrated.as_default_connection(), migrated.connect() as other, other.transaction():
        other.execute("SELECT FROM council_signinfailures WHERE key = 'a' FOR UPDATE")
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
        assert throttle._forget() == 1
    assert migrated.fetch("SELECT key FROM council_signinfailures ORDER BY key") == [("a",), ("c",)]
