"""The error for a rehearsal that cannot be done. Its exit status is 2; 1 is a rehearsal that failed."""

from django.core.management import CommandError


class CannotRehearse(CommandError):
    """A rehearsal cannot be done: the fault and its cure. Everything that was created is removed."""

    def __init__(self, fault: str, *, cure: str) -> None:
        super().__init__(f"{fault}\n{cure}", returncode=2)
