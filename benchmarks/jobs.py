"""What happens to benchmarks by the clock."""

from benchmarks import review
from council import jobs


@jobs.register("receive_benchmarks", jobs.Every(minutes=15))
def receive_benchmarks(run: jobs.Run) -> jobs.Counts:
    """Flag the answers that the gateway wrote, or receive them: without a state they are in no release."""
    return {"states": review.receive_waiting()}
