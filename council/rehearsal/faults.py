"""Why there is no rehearsal, in words, with exit status 2: 1 is a rehearsal that went badly."""

from django.core.management import CommandError


class NoRehearsal(CommandError):
    """The fault, and its cure. Whatever had been made is removed."""

    def __init__(self, fault: str, *, cure: str) -> None:
        super().__init__(f"{fault}\n{cure}", returncode=2)
