"""When a job is due next."""

from datetime import UTC, datetime, time, timedelta

import pytest

from council.jobs import Daily, Every, Monthly
from council.jobs.schedules import Schedule

pytestmark = pytest.mark.any_server


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "last", "due"),
    [
        (Every(minutes=15), "2026-11-24 23:50", "2026-11-25 00:05"),
        (Daily(at=time(3, 30)), "2026-11-24 03:29:59.5", "2026-11-24 03:30"),
        (Daily(at=time(3, 30)), "2026-11-24 03:30", "2026-11-25 03:30"),
        (Daily(at=time(3, 30)), "2026-12-31 12:00", "2027-01-01 03:30"),
        (Monthly(), "2026-11-01 00:09:59.5", "2026-11-01 00:10"),
        (Monthly(), "2026-11-01 00:10", "2026-12-01 00:10"),
        (Monthly(), "2026-01-31 23:00", "2026-02-01 00:10"),
        (Monthly(at=time(2, 0)), "2026-12-05 00:00", "2027-01-01 02:00"),
    ],
)
def test_a_job_is_due_after_its_last_run(schedule: Schedule, last: str, due: str) -> None:
    assert schedule.next_after(at(last)) == at(due)


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        (Every(minutes=5), 15),
        (Every(minutes=8), 16),
        (Every(minutes=60), 120),
        (Daily(at=time(3, 30)), 6 * 60),
        (Monthly(), 24 * 60),
    ],
)
def test_a_job_may_be_late_by_its_grace(schedule: Schedule, minutes: int) -> None:
    assert schedule.grace == timedelta(minutes=minutes)


def test_schedules_have_a_description() -> None:
    assert [str(Every(minutes=5)), str(Daily(at=time(4, 0))), str(Monthly())] == [
        "every 5 minutes",
        "daily at 04:00",
        "on the first of the month at 00:10",
    ]
