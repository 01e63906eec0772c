"""The error for refused files and changes."""


class Refused(Exception):
    """A file or a change is not accepted. The message tells staff why, and what to do."""
