"""Scheduled jobs for benchmarks."""

from datetime import time

from django.conf import settings

from benchmarks import flags, releases
from council import jobs


@jobs.register("receive_benchmarks", jobs.Every(minutes=15))
def receive_benchmarks(run: jobs.Run) -> jobs.Counts:
    """Flag or receive the answers that the gateway wrote. Without a state, no release uses them."""
    return {"states": flags.receive_waiting()}


@jobs.register("take_release", jobs.Daily(at=time(1, 0)), is_on=lambda: bool(settings.BENCHMARK_KEY))
def take_release(run: jobs.Run) -> jobs.Counts:
    """Take the benchmark release of each month that is over and has none."""
    taken = 0
    for month in releases.due():
        taken += releases.take(month=month) is not None
        run.report()
    return {"releases": taken}
