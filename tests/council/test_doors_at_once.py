"""Concurrent sign-ins: what the second one waits for, and what it finds afterwards."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection
from django.test import RequestFactory
from django_otp.plugins.otp_totp.models import TOTPDevice

from council import second_factor, throttle
from council.accounts.models import Account
from tests.council.test_second_factor import PAGE, code_of
from tests.databases import Database


def test_rows_are_claimed_in_the_order_of_their_keys(migrated: Database) -> None:
    """So two transactions that need the same rows never deadlock."""
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
            for key in ("b", "c"):  # which the second has not locked yet
                first.execute(taken, [key])
        second.result(timeout=30)


def test_old_rows_that_are_locked_are_deleted_later(migrated: Database) -> None:
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


@pytest.fixture
def device(migrated: Database) -> Iterator[TOTPDevice]:
    """The authenticator app of sam, in a database where others commit, too."""
    with migrated.as_default_connection():
        sam = Account.objects.create_superuser("sam", "a horse of sam's")
        yield TOTPDevice.objects.create(user=sam, confirmed=True)


def in_a_thread(act: Callable[..., Any], device: TOTPDevice) -> Any:
    """Enter the app's code in a separate session."""
    request = RequestFactory().post(PAGE)
    request.user, request.session = device.user, SessionStore()
    try:
        return act(request, account=device.user, code=code_of(device))
    finally:
        connection.close()


def test_of_two_concurrent_sign_ins_with_one_code_only_one_succeeds(
    migrated: Database, device: TOTPDevice
) -> None:
    """The second waits for the first, and then reads which codes were used."""
    with migrated.connect() as first, ThreadPoolExecutor(1) as pool:
        with first.transaction():
            first.execute("SELECT FROM otp_totp_totpdevice FOR UPDATE")
            second = pool.submit(in_a_thread, second_factor.verify, device)
            migrated.wait_for_waiting(1)
            first.execute("UPDATE otp_totp_totpdevice SET last_t = 2 ^ 40")
        assert second.result(timeout=30) is False


def test_of_two_concurrent_set_ups_only_one_gets_recovery_codes(
    migrated: Database, device: TOTPDevice
) -> None:
    migrated.execute("UPDATE otp_totp_totpdevice SET confirmed = false")
    with migrated.connect() as first, ThreadPoolExecutor(1) as pool:
        with first.transaction():
            first.execute("SELECT FROM council_account FOR NO KEY UPDATE")
            second = pool.submit(in_a_thread, second_factor.confirm, device)
            migrated.wait_for_waiting(1)
            first.execute("UPDATE otp_totp_totpdevice SET confirmed = true")
        assert second.result(timeout=30) is None
    assert migrated.fetch("SELECT count(*) FROM otp_static_statictoken") == [(0,)]
