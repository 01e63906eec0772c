"""The settings of a migrating session, whatever its role's settings are."""

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from council.zero_downtime import session_settings

NEVER = [
    "idle_session_timeout", "idle_in_transaction_session_timeout", "transaction_timeout",
    "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count",
]  # fmt: skip


def shown(connection: BaseDatabaseWrapper, *names: str) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(names)])
        return dict(cursor.fetchall())


def test_no_time_limit_of_the_role_ends_a_migrating_session(scratch: BaseDatabaseWrapper) -> None:
    with scratch.cursor() as cursor:
        known = shown(scratch, *NEVER[:3])
        for name in known:
            cursor.execute(f"SET {name} = '1h'")
    with session_settings.without_timeouts(scratch):
        assert shown(scratch, *known) == dict.fromkeys(known, "0")
    assert shown(scratch, *known) == dict.fromkeys(known, "3600000")
    assert len(known) >= 2


def test_a_dead_server_machine_is_noticed_within_a_minute(
    scratch: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local socket has no keepalives, so this checks the settings that the server received."""
    asked: dict[str, str] = {}
    monkeypatch.setattr(session_settings, "changed", lambda _, **values: asked.update(values))
    session_settings.without_timeouts(scratch)
    idle, interval, count = (int(asked[name]) for name in NEVER[3:])
    assert 0 < idle + interval * count <= 60


def test_a_superuser_s_session_cancels_autovacuums_before_its_lock_timeout(
    scratch: BaseDatabaseWrapper,
) -> None:
    with session_settings.short_lock_waits(scratch, 0.1):
        assert shown(scratch, "lock_timeout", "deadlock_timeout") == {
            "lock_timeout": "100", "deadlock_timeout": "50"
        }  # fmt: skip
    assert shown(scratch, "lock_timeout", "deadlock_timeout") == {
        "lock_timeout": "0", "deadlock_timeout": "1000"
    }  # fmt: skip


def test_the_settings_are_restored_after_an_error(scratch: BaseDatabaseWrapper) -> None:
    with pytest.raises(RuntimeError, match="in between"), session_settings.short_lock_waits(scratch, 0.1):
        raise RuntimeError("in between")
    assert shown(scratch, "lock_timeout") == {"lock_timeout": "0"}
