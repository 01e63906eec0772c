"""What apps register with the parts of council that serve them all: checks, jobs, figures."""

from typing import TypeVar

Entry = TypeVar("Entry")


class Registry(dict[str, Entry]):
    """Entries by name, in the order in which they were registered. A name is taken once."""

    def add(self, name: str, entry: Entry) -> None:
        """Raises ValueError for a name that is taken."""
        if name in self:
            raise ValueError(f"{name!r} is registered twice. Give one of the two another name.")
        self[name] = entry
