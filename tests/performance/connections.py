"""Measure the gain from keeping database connections: requests per second with CONN_MAX_AGE and without.

    python -m tests.performance.connections [--rounds 8]

Runs the production server twice, once with a new connection for each request, while members request a page that reads
one row by its key. The two take turns. The database is on the same machine, without a password and TLS, so a new
connection costs less than in production. Takes two minutes.
"""

import argparse
import json
import os
import statistics
from contextlib import ExitStack

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from tests.performance import pages
from tests.performance.measuring import gunicorn, private_server

MEMBERS, SECONDS = 1_000, 3.0
AGES = {"a connection for each request": "0", "kept for 60 s": "60"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    with private_server() as server, ExitStack() as servers:
        keys = pages.fill(server, "connections", members=MEMBERS)
        sites = {}
        for name, age in AGES.items():
            environment = pages.environment(server, "connections", WEB_CONCURRENCY="2", CONN_MAX_AGE=age)
            served = servers.enter_context(gunicorn(environment))
            sites[name] = pages.Contestant(MEMBERS, served.port, keys)
            sites[name].ask(pages.BASE, seconds=SECONDS, seed=-1)  # code and templates are loaded
        rates: dict[str, list[float]] = {name: [] for name in sites}
        for number in range(options.rounds):
            for name, site in sites.items():
                site.latencies.clear()
                site.seconds.clear()
                site.ask(pages.BASE, seconds=SECONDS, seed=number)
                rates[name].append(site.rate(pages.BASE))
        without, kept = rates.values()
        ratios = [after / before for before, after in zip(without, kept, strict=True)]
        result = {
            **server.record(),
            "load": os.getloadavg(),
            "requests a second": {name: round(statistics.median(each), 1) for name, each in rates.items()},
            "ratio of each round": [round(ratio, 2) for ratio in ratios],
            "median ratio": round(statistics.median(ratios), 2),
        }
    print(json.dumps(result, indent=2))  # noqa: T201


if __name__ == "__main__":
    main()
