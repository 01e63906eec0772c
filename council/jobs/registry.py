"""The jobs that there are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from council.jobs.lease import Run
from council.jobs.schedules import Schedule
from council.registry import Registry

# What a run counted, by a name that staff read: {"members paid": 12}.
Counts = Mapping[str, int]
Act = Callable[[Run], Counts]


@dataclass(frozen=True)
class Job:
    """`is_on` tells whether the settings ask for the job at all."""

    name: str
    schedule: Schedule
    act: Act
    is_on: Callable[[], bool]

    @property
    def what(self) -> str:
        """The first line of its docstring."""
        return (self.act.__doc__ or "").strip().partition("\n")[0]


JOBS: Registry[Job] = Registry()


def register(
    name: str, schedule: Schedule, *, is_on: Callable[[], bool] = lambda: True
) -> Callable[[Act], Act]:
    """Have a function run by the clock."""

    def decorate(act: Act) -> Act:
        JOBS.add(name, Job(name, schedule, act, is_on))
        return act

    return decorate
