"""PostgreSQL's table locks: the modes, which of them conflict, and who waits for each.

Source: PostgreSQL manual, table 13.2. A test tries each pair of modes on the server.
"""

from collections.abc import Sequence
from typing import NamedTuple

ACCESS_SHARE = "ACCESS SHARE"
ROW_SHARE = "ROW SHARE"
ROW_EXCLUSIVE = "ROW EXCLUSIVE"
SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
SHARE = "SHARE"
SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
EXCLUSIVE = "EXCLUSIVE"
ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"
# From the weakest to the strongest, as LOCK TABLE numbers them.
MODES = [
    ACCESS_SHARE,
    ROW_SHARE,
    ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    SHARE,
    SHARE_ROW_EXCLUSIVE,
    EXCLUSIVE,
    ACCESS_EXCLUSIVE,
]
CONFLICTS: dict[str, Sequence[str]] = {
    ACCESS_SHARE: MODES[7:],
    ROW_SHARE: MODES[6:],
    ROW_EXCLUSIVE: MODES[4:],
    SHARE_UPDATE_EXCLUSIVE: MODES[3:],
    SHARE: [ROW_EXCLUSIVE, SHARE_UPDATE_EXCLUSIVE, *MODES[5:]],
    SHARE_ROW_EXCLUSIVE: MODES[2:],
    EXCLUSIVE: MODES[1:],
    ACCESS_EXCLUSIVE: MODES,
}
# The modes by their names in pg_locks.
BY_NAME = {f"{mode.title().replace(' ', '')}Lock": mode for mode in MODES}
NAMES = {mode: name for name, mode in BY_NAME.items()}


class Lock(NamedTuple):
    """A lock on a table. The mode is spelled as in PostgreSQL's manual."""

    table: str
    mode: str

    @property
    def is_felt(self) -> bool:
        """Whether reads or writes wait for it."""
        return ROW_EXCLUSIVE in CONFLICTS[self.mode]

    @property
    def blocks(self) -> str:
        """What waits for it, as text: for example "writes and DDL"."""
        if ACCESS_SHARE in CONFLICTS[self.mode]:
            return "reads, writes and DDL"
        if self.is_felt:
            return "writes and DDL"
        return "other DDL" if self.mode in CONFLICTS[self.mode] else "DDL that needs the whole table"
