"""Database functions, declared beside the models whose rows they read."""

from typing import NamedTuple


class Function(NamedTuple):
    """A function in SQL or plpgsql, for the list `functions` of an AppConfig.

    `definition` is the text after `CREATE FUNCTION name(arguments)`, with tables written as `@extschema@."Member"`.
    """

    name: str
    arguments: str
    definition: str
