"""A registry by name. Apps use it to add their jobs, figures, checks and page parts to council."""

from typing import TypeVar

Entry = TypeVar("Entry")


class Registry(dict[str, Entry]):
    """Entries by unique name, in the order of registration."""

    def add(self, name: str, entry: Entry) -> None:
        """Register an entry. Raises ValueError if the name is already used."""
        if name in self:
            raise ValueError(f"{name!r} is registered twice. Give one of the two another name.")
        self[name] = entry
