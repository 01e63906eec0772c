"""Whether functions give another value at each call: pg_proc's word, and PostgreSQL's own functions without a server.

`volatility.txt` is written by `python -m tests.write_volatility`, from the newest server.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_suffix(".txt")
# Of functions with one name, the worst: i(mmutable) < s(table) < v(olatile).
QUERY = "SELECT proname, max(provolatile) FROM pg_proc GROUP BY proname"


@functools.cache
def own() -> Mapping[str, str]:
    """Give the volatility of PostgreSQL's own functions, as pg_proc writes it, by their names."""
    lines = FILE.read_text().splitlines()
    return {name: line[0] for line in lines for name in line.partition(":")[2].split()}


def is_volatile(name: str, known: Mapping[str, str]) -> bool:
    """Tell whether a function is volatile. One that nobody knows may be."""
    return known.get(name, "v") == "v"
