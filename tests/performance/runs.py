"""The measurements of one deploy under load."""

from dataclasses import dataclass, field


@dataclass
class Run:
    """One deploy under load. Times are from the monotonic clock."""

    title: str
    began: float = 0.0
    ended: float = 0.0
    status: int = 0
    held: tuple[float, float] | None = None  # the time for which a transaction stayed open
    steps: list[tuple[float, str]] = field(default_factory=list)
    samples: list[tuple[float, float, str]] = field(default_factory=list)
