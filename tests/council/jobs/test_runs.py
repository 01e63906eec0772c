"""Runs of jobs: one at a time, recorded, considered dead if they do not report, and retried after a failure."""

import logging
import os
import subprocess
import sys
import time
from datetime import timedelta
from typing import NoReturn

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from council import jobs
from council.accounts.models import AccountSession
from council.jobs import lease
from council.jobs.lease import LeaseLost, database_clock
from council.models import JobRun
from tests.databases import ROOT, Database
from tests.factories import AccountFactory

HOURLY = jobs.Every(minutes=60)


def made(act: object, schedule: jobs.Every = HOURLY) -> jobs.Job:
    return jobs.Job("made", schedule, act, lambda: True)  # type: ignore[arg-type]


def counting(run: jobs.Run) -> jobs.Counts:
    """Count to three."""
    return {"counted": 3}


def failing(run: jobs.Run) -> NoReturn:
    """Fail."""
    raise ValueError("no luck\0")


def moved_back(**ago: float) -> None:
    """Move the last run into the past."""
    last = JobRun.objects.latest("pk")
    moved = timedelta(**ago)
    JobRun.objects.filter(pk=last.pk).update(
        started_at=last.started_at - moved,
        lease_until=last.lease_until - moved,
        ended_at=last.ended_at and last.ended_at - moved,
    )


def test_a_run_is_recorded_with_what_it_counted(db: None) -> None:
    run = jobs.run(made(counting))
    assert run is not None
    assert (run.job, run.outcome, run.counts, run.error) == ("made", "DONE", {"counted": 3}, None)
    assert run.seconds is not None
    assert run.seconds >= 0


def test_a_run_that_fails_is_recorded_with_its_error(db: None) -> None:
    run = jobs.run(made(failing))
    assert run is not None
    assert (run.outcome, run.error) == ("FAILED", "ValueError: no luck")


def test_a_run_that_breaks_its_transaction_is_recorded(db: None) -> None:
    def breaking(run: jobs.Run) -> NoReturn:
        with connection.cursor() as cursor, pytest.raises(DatabaseError), transaction.atomic():
            cursor.execute("SELECT 1/0")
        raise RuntimeError("after it")

    run = jobs.run(made(breaking))
    assert run is not None
    assert run.error == "RuntimeError: after it"


def test_a_job_that_has_never_run_is_due_and_one_that_has_just_run_is_not(db: None) -> None:
    job = made(counting)
    assert jobs.state(job).is_due
    assert jobs.run_if_due(job) is not None
    assert not jobs.state(job).is_due
    assert jobs.run_if_due(job) is None
    assert JobRun.objects.count() == 1
    moved_back(minutes=61)
    assert jobs.run_if_due(job) is not None


def test_a_job_is_overdue_only_after_its_grace(db: None) -> None:
    job = made(counting)
    jobs.run(job)
    moved_back(minutes=61)
    assert (jobs.state(job).is_due, jobs.state(job).is_overdue) == (True, False)
    moved_back(minutes=121)
    assert jobs.state(job).is_overdue


def test_while_a_run_is_active_no_other_begins(db: None) -> None:
    def nested(run: jobs.Run) -> jobs.Counts:
        assert jobs.run(made(counting)) is None
        assert jobs.run_if_due(made(counting)) is None
        return {}

    run = jobs.run(made(nested))
    assert run is not None
    assert run.outcome == "DONE", run.error
    assert JobRun.objects.count() == 1


def test_a_run_that_does_not_report_is_considered_dead_and_gets_an_error(db: None) -> None:
    def hanging(run: jobs.Run) -> jobs.Counts:
        JobRun.objects.filter(pk=run.id).update(lease_until=database_clock() - timedelta(seconds=1))
        other = jobs.run(made(counting))
        assert other is not None
        with pytest.raises(LeaseLost, match="did not report for 10 minutes"):
            run.report()
        run.report()
        return {}

    jobs.run(made(hanging))
    lost, other = JobRun.objects.order_by("pk")
    assert (lost.outcome, other.outcome) == ("LOST", "DONE")
    assert lost.error
    assert "killed, or it hangs" in lost.error


def test_reporting_renews_the_lease(db: None) -> None:
    def reporting(run: jobs.Run) -> jobs.Counts:
        JobRun.objects.filter(pk=run.id).update(lease_until=database_clock() - timedelta(seconds=1))
        run.report()
        lasts = JobRun.objects.get(pk=run.id).lease_until - database_clock()
        assert timedelta(minutes=9) < lasts <= timedelta(minutes=10)
        assert jobs.run(made(counting)) is None
        return {}

    run = jobs.run(made(reporting))
    assert run is not None
    assert run.outcome == "DONE", run.error


def test_a_job_that_failed_is_tried_again_after_one_two_and_four_minutes(db: None) -> None:
    waits = []
    for _ in range(3):
        run = jobs.run(made(failing))
        state = jobs.state(made(failing))
        assert run is not None
        assert run.ended_at is not None
        assert state.due_at is not None
        waits.append(round((state.due_at - run.ended_at).total_seconds() / 60))
    assert waits == [1, 2, 4]


def test_a_job_that_fails_for_a_week_is_tried_once_an_hour(db: None) -> None:
    for _ in range(12):
        jobs.run(made(failing, jobs.Every(minutes=24 * 60)))
    state = jobs.state(made(failing, jobs.Every(minutes=24 * 60)))
    assert state.last is not None
    assert state.last.ended_at is not None
    assert state.due_at == state.last.ended_at + timedelta(minutes=60)


def test_the_third_failure_in_a_row_is_logged_and_later_ones_less_often(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return sum(record.levelno == logging.ERROR for record in caplog.records)

    numbers = []
    for _ in range(13):
        jobs.run(made(failing))
        numbers.append(told())
    assert numbers == [0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3]
    assert "made has failed 3 times in a row. The last error: ValueError: no luck" in caplog.text
    jobs.run(made(counting))
    jobs.run(made(failing))
    assert told() == 3


def test_a_wrong_clock_of_this_machine_has_no_effect(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    job = made(counting)
    jobs.run(job)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert jobs.run_if_due(job) is None


def test_a_run_recorded_while_the_databases_clock_was_ahead_blocks_nothing(
    db: None, caplog: pytest.LogCaptureFixture
) -> None:
    job = made(counting)
    jobs.run(job)
    moved_back(minutes=90)
    jobs.run(job)
    moved_back(days=-1_000)
    assert jobs.state(job).is_due
    for _ in range(3):
        jobs.run(made(failing))
    assert "made has failed 3 times in a row" in caplog.text
    jobs.run(job)
    assert not jobs.state(job).is_due


def test_a_lease_recorded_while_the_databases_clock_was_ahead_ends(db: None) -> None:
    def act(run: jobs.Run) -> jobs.Counts:
        JobRun.objects.filter(pk=run.id).update(lease_until=database_clock() + timedelta(minutes=19))
        assert jobs.run(made(counting)) is None
        JobRun.objects.filter(pk=run.id).update(lease_until=database_clock() + timedelta(minutes=21))
        assert jobs.run(made(counting)) is not None
        return {}

    run = jobs.run(made(act))
    assert run is not None
    assert run.outcome == "LOST"


def test_housekeeping_deletes_ended_sessions_their_records_and_old_runs(db: None) -> None:
    account = AccountFactory.create()
    for key, hours in (("ended", -1), ("lives", 1)):
        Session.objects.create(
            session_key=key, session_data="", expire_date=database_clock() + timedelta(hours=hours)
        )
    for key in ("ended", "lives", "nowhere"):
        AccountSession.objects.create(session_key=key, account=account, browser="Firefox on Linux")
    for days in (91, 89):
        jobs.run(made(counting))
        moved_back(days=days)
    run = jobs.run(jobs.JOBS["housekeeping"])
    assert run is not None
    assert run.counts == {"sessions removed": 1, "notes of sessions removed": 2, "old runs removed": 1}
    assert [session.session_key for session in AccountSession.objects.all()] == ["lives"]


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'housekeeping' is registered twice"):
        jobs.register("housekeeping", HOURLY)(counting)


def test_the_command_lists_the_jobs_if_the_name_is_unknown(db: None) -> None:
    with pytest.raises(CommandError, match="There is no job 'x'. The jobs are housekeeping"):
        call_command("run_due_jobs", only="x")
    with pytest.raises(CommandError, match="its settings are not set"):
        call_command("run_due_jobs", only="sync_discord")
    with pytest.raises(CommandError, match="--now needs the name of one job"):
        call_command("run_due_jobs", now=True)


def test_jobs_are_listed_with_their_last_run_and_when_they_are_due(
    db: None, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("run_due_jobs")
    call_command("jobs")
    said = capsys.readouterr().out
    assert "housekeeping, daily at 04:00" in said
    assert "Done in" in said
    assert "Due at" in said
    assert "sync_discord is off" in said


def test_a_hung_job_ends_with_its_process() -> None:
    script = (
        "import django; django.setup()\n"
        "from council.jobs import lease; lease.LEASE_MINUTES = 0.005\n"
        "lease.Run(1, 'hung', ends_process=True)\n"
        "import time; time.sleep(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == lease.EXIT_STATUS_HUNG
    assert "hung has not reported" in done.stderr


KILLED = """
import os, signal
from council import jobs
def act(run):
    os.kill(os.getpid(), signal.SIGKILL)
jobs.run(jobs.Job("made", jobs.Every(minutes=1), act, lambda: True))
"""


def test_after_a_killed_run_the_next_begins_when_its_lease_has_ended(migrated: Database) -> None:
    migrated.manage("shell", "-v", "0", "-c", KILLED, check=False)
    with migrated.as_default_connection():
        job = made(counting, jobs.Every(minutes=1))
        assert jobs.run(job) is None
        moved_back(minutes=lease.LEASE_MINUTES + 1)
        assert jobs.run_if_due(job) is not None
        assert [*JobRun.objects.order_by("pk").values_list("outcome", flat=True)] == ["LOST", "DONE"]


RUN = """
import sys, time
from council import jobs
def act(run):
    time.sleep(0.5)
    return {}
print("ready", flush=True)
sys.stdin.readline()
run = jobs.run_if_due(jobs.Job("made", jobs.Every(minutes=60), act, lambda: True))
print("ran" if run else "left alone")
"""


def test_only_one_of_several_processes_runs_the_job(migrated: Database) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v", "0", "-c", RUN],
            cwd=ROOT,
            env=migrated.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    said = sorted(process.communicate(timeout=300)[0].strip() for process in processes)
    assert said == ["left alone", "left alone", "left alone", "ran"]


def test_the_scheduler_runs_due_jobs_and_ends_on_request(migrated: Database) -> None:
    script = (
        "from council.management.commands import run_scheduler; run_scheduler.LOOK_SECONDS = 1\n"
        "from django.core.management import call_command; call_command('run_scheduler')"
    )
    process = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "-v", "0", "-c", script],
        cwd=ROOT,
        env=migrated.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with migrated.as_default_connection():
            deadline = time.monotonic() + 300
            while not JobRun.objects.filter(job="housekeeping", outcome="DONE").exists():
                assert time.monotonic() < deadline, "the scheduler ran nothing"
                time.sleep(0.1)
        process.terminate()
        said, _ = process.communicate(timeout=300)
    finally:
        process.kill()
    assert "Ended." in said
    assert process.returncode == 0
