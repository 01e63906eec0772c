"""The volatility of functions: a query for it, and that of PostgreSQL's own functions without a server.

`python -m tests.write_volatility` writes `volatility.txt`, from the newest server.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_suffix(".txt")
# For functions with the same name, the most volatile counts: i(mmutable) < s(table) < v(olatile).
QUERY = "SELECT proname, max(provolatile) FROM pg_proc GROUP BY proname"


@functools.cache
def own() -> Mapping[str, str]:
    """Return the volatility of PostgreSQL's own functions by name, as pg_proc has it."""
    lines = FILE.read_text().splitlines()
    return {name: line[0] for line in lines for name in line.partition(":")[2].split()}


def is_volatile(name: str, known: Mapping[str, str]) -> bool:
    """Return whether a function is volatile. An unknown function counts as volatile."""
    return known.get(name, "v") == "v"
