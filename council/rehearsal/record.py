"""What is recorded of a rehearsal. All times are from the monotonic clock."""

from dataclasses import dataclass
from typing import NamedTuple

from council.rehearsal.load import Load, TimedStatement
from council.rehearsal.lock_samples import LockSample
from council.rehearsal.prediction import Predicted


@dataclass(frozen=True)
class MigrationRun:
    """The run of one migration. `ended` and `size_after_bytes` are None if it did not end."""

    name: str
    began: float
    size_before_bytes: int
    ended: float | None = None
    size_after_bytes: int | None = None


class Origin(NamedTuple):
    """What was copied, where to, and what was left out."""

    source: str
    target: str
    postgresql: str
    left_out: list[str]
    source_version: int | None = None
    copy_seconds: float = 0.0


@dataclass(frozen=True)
class Record:
    """Everything that was recorded. If nothing was pending, nothing was predicted, and nothing ran."""

    origin: Origin
    load: Load
    max_wait_ms: float
    predicted: dict[str, Predicted]
    samples: tuple[TimedStatement, ...] = ()
    open_transactions: tuple[tuple[float, float], ...] = ()
    held: tuple[LockSample, ...] = ()
    runs: tuple[MigrationRun, ...] = ()
    began: float = 0.0  # of the migrate command, including its startup
    ended: float = 0.0
    status: int = 0
    output: tuple[str, ...] = ()
    size_before_bytes: int = 0
    size_after_bytes: int = 0
