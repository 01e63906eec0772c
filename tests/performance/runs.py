"""One deploy beside the load, as it is measured."""

from dataclasses import dataclass, field


@dataclass
class Run:
    """One deploy beside the load. Moments are of the monotonic clock."""

    title: str
    began: float = 0.0
    ended: float = 0.0
    status: int = 0
    held: tuple[float, float] | None = None  # from when to when a transaction stayed open
    steps: list[tuple[float, str]] = field(default_factory=list)
    samples: list[tuple[float, float, str]] = field(default_factory=list)
