"""The scheduled jobs of the library."""

from datetime import time

from django.conf import settings

from council import jobs
from resources import leftovers, library


@jobs.register("refresh_library", jobs.Every(minutes=5))
def refresh_library(run: jobs.Run) -> jobs.Counts:
    """Update the counts by which the library orders "most downloaded" and "trending"."""
    return {"resources": library.refresh()}


@jobs.register("clean_storage", jobs.Daily(at=time(4, 30)), is_on=lambda: "library" in settings.STORAGES)
def clean_storage(run: jobs.Run) -> jobs.Counts:
    """Remove files that killed processes left over a week ago. Fails, without repairing, if a row's file is missing."""
    return {"files removed": leftovers.clean()}
