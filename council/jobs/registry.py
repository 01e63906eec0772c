"""The registry of jobs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from council.jobs.lease import Run
from council.jobs.schedules import Schedule
from council.registry import Registry

# The counts of a run, by names that staff read: {"members paid": 12}.
Counts = Mapping[str, int]
Act = Callable[[Run], Counts]


@dataclass(frozen=True)
class Job:
    """A scheduled job. `is_on` tells whether the settings enable it."""

    name: str
    schedule: Schedule
    act: Act
    is_on: Callable[[], bool]

    @property
    def what(self) -> str:
        """The first line of the function's docstring, which staff read."""
        return (self.act.__doc__ or "").strip().partition("\n")[0]


JOBS: Registry[Job] = Registry()


def register(
    name: str, schedule: Schedule, *, is_on: Callable[[], bool] = lambda: True
) -> Callable[[Act], Act]:
    """Register a function as a job with a schedule."""

    def decorate(act: Act) -> Act:
        JOBS.add(name, Job(name, schedule, act, is_on))
        return act

    return decorate
