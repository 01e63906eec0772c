"""What must happen to benchmarks by the clock."""

from datetime import time

from django.conf import settings

from benchmarks import releases
from council import jobs


@jobs.register("take_release", jobs.Daily(at=time(1, 0)), is_on=lambda: bool(settings.BENCHMARK_KEY))
def take_release(run: jobs.Run) -> jobs.Counts:
    """Take the benchmarks' release of each month that is over and has none."""
    taken = 0
    for month in releases.due():
        taken += releases.take(month=month) is not None
        run.report()
    return {"releases": taken}
