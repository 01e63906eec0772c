"""What must happen to the library by the clock."""

from council import jobs
from resources import library


@jobs.register("refresh_library", jobs.Every(minutes=5))
def refresh_library(run: jobs.Run) -> jobs.Counts:
    """Count what the orders "most downloaded" and "trending" in the library go by."""
    return {"resources": library.refresh()}
