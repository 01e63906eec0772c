"""The daily job that deletes rows that nobody needs any longer."""

from datetime import time, timedelta

from django.contrib.sessions.models import Session
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from council.accounts.models import AccountSession
from council.jobs.lease import Run, database_clock
from council.jobs.registry import Counts, register
from council.jobs.schedules import Daily
from council.models import JobRun

KEPT_DAYS = 90


@register("housekeeping", Daily(at=time(4, 0)))
def housekeeping(run: Run) -> Counts:
    """Delete expired sessions, the notes about them, and the records of job runs that ended over 90 days ago."""
    sessions, _ = Session.objects.filter(expire_date__lt=Now()).delete()
    session = Session.objects.filter(session_key=OuterRef("session_key"))
    notes, _ = AccountSession.objects.filter(~Exists(session)).delete()
    old = JobRun.objects.filter(ended_at__lt=database_clock() - timedelta(days=KEPT_DAYS))
    runs, _ = old.delete()
    return {"sessions removed": sessions, "notes of sessions removed": notes, "old runs removed": runs}
