"""The rows that a check compares: random ones for about a second, or with `--full` all of them."""

import time
from collections.abc import Callable, Iterator

from council.verification.database import Database

SECONDS = 1.0


class Sample:
    """The ids of the rows to compare, in batches.

    `draw` lists random ids. `next_batch` lists the ids after a given one, in order. Each call has its own transaction,
    so none stays open for long. After the last batch, `compared` counts the rows; `extent` tells if these were all.
    """

    def __init__(
        self,
        database: Database,
        *,
        draw: Callable[[], list[str]],
        next_batch: Callable[[str], list[str]],
        limit: int,
        batch: int,
    ) -> None:
        self.database, self.limit, self.batch = database, limit, batch
        self._draw, self._next_batch = draw, next_batch
        self.compared = 0
        self.is_whole = database.is_full

    @property
    def extent(self) -> str:
        return "all" if self.is_whole else "a sample; --full compares all"

    def batches(self) -> Iterator[list[str]]:
        for ids in self._all() if self.database.is_full else self._drawn():
            yield ids
            self.compared += len(ids)

    def _all(self) -> Iterator[list[str]]:
        after = ""
        while True:
            with self.database.transaction():
                ids = self._next_batch(after)
            if not ids:
                return
            yield ids
            after = ids[-1]

    def _drawn(self) -> Iterator[list[str]]:
        """Yield the drawn ids in batches until the time is up, at least one batch."""
        with self.database.transaction():
            drawn = self._draw()
        deadline = time.monotonic() + SECONDS
        for first in range(0, len(drawn), self.batch):
            if first and time.monotonic() > deadline:
                return
            yield drawn[first : first + self.batch]
        self.is_whole = len(drawn) < self.limit
