"""Why a file is not taken."""


class Refused(Exception):
    """A file is not taken. The message says why, and what to do, to who uploaded it."""
