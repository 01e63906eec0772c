"""Write council/postgres/volatility.txt again, from the server of DATABASE_URL: `python -m tests.write_volatility`.

Use the newest PostgreSQL. Functions that no default can call are left out: I/O, triggers, sets, aggregates.
"""

import os
import textwrap

import psycopg

from council.postgres import volatility

CALLABLE = """
    WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND NOT proretset
      AND NOT proargtypes::oid[] && '{internal,cstring}'::regtype[]::oid[]
      AND prorettype <> ALL ('{internal,cstring,trigger,event_trigger}'::regtype[])
"""
QUERY = volatility.QUERY.replace("GROUP BY", f"{CALLABLE} GROUP BY") + " ORDER BY 2, 1"
WORDS = {"i": "immutable", "s": "stable", "v": "volatile"}


def main() -> None:
    with psycopg.connect(os.environ["DATABASE_URL"]) as session:
        rows = session.execute(QUERY.encode()).fetchall()
    written = ""
    for letter, word in WORDS.items():
        names = " ".join(name for name, volatile in rows if volatile == letter)
        for line in textwrap.wrap(names, 105, break_long_words=False, break_on_hyphens=False):
            written += f"{word}: {line}\n"
    volatility.FILE.write_text(written)


if __name__ == "__main__":
    main()
