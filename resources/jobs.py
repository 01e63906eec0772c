"""What must happen to the library by the clock."""

from datetime import time

from django.conf import settings

from council import jobs
from resources import leftovers, library


@jobs.register("refresh_library", jobs.Every(minutes=5))
def refresh_library(run: jobs.Run) -> jobs.Counts:
    """Count what the orders "most downloaded" and "trending" in the library go by."""
    return {"resources": library.refresh()}


@jobs.register("clean_storage", jobs.Daily(at=time(4, 30)), is_on=lambda: "library" in settings.STORAGES)
def clean_storage(run: jobs.Run) -> jobs.Counts:
    """Remove files that killed processes left a week ago. Fails where rows have no file; repairs nothing."""
    return {"files removed": leftovers.clean()}
