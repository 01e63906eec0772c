"""Measure how long the production server takes to serve its first page, and the memory of its processes.

    python -m tests.performance.start [--runs 7]

Uses production's settings with collected files, a community of 1,000 members, and two processes of eight threads. The
first page is the sign-in page. Its time counts from the start of gunicorn: by the clock, and as processor time of the
first process and of the busier of the other two, which is the time on an idle machine. Then members request every page
for a while, and the memory of each process is read: all of it (RSS), its private part, and its share (PSS). The same is
measured with the code loaded before the processes are forked (--preload). Takes two minutes.
"""

import argparse
import http.client
import json
import os
import re
import statistics
import time
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from tests.performance import pages
from tests.performance.measuring import MIB, Gunicorn, Server, gunicorn, private_server

DATABASE = "start"
MAX_SECONDS = 2.0


def first_page(site: Gunicorn) -> float:
    """Request a page that reads the database, and return how long after the start it arrived."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    headers = {"X-Forwarded-Proto": "https", "Cookie": f"__Host-session={'a' * 32}"}
    connection.request("GET", "/sign-in/", headers=headers)
    answer = connection.getresponse()
    assert b"</html>" in answer.read()
    assert answer.status == 200
    return time.monotonic() - site.began


def processor_seconds(pid: int) -> float:
    """Read the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def mib(pid: int) -> dict[str, float]:
    """Read the memory of a process from the kernel's summary."""
    sums = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = {
        name: int(kib) * 1024 / MIB for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", sums, re.MULTILINE)
    }
    alone = found["Private_Clean"] + found["Private_Dirty"]
    return {"RSS": round(found["Rss"], 1), "alone": round(alone, 1), "PSS": round(found["Pss"], 1)}


def measure(server: Server, keys: list[str], *arguments: str, runs: int) -> dict[str, Any]:
    environment = pages.environment(
        server, DATABASE, DJANGO_SETTINGS_MODULE="council.settings", WEB_CONCURRENCY="2"
    )
    seconds, of_a_core = [], []
    for _ in range(runs):
        with gunicorn(environment, *arguments) as site:
            seconds.append(first_page(site))
            of_a_core.append(processor_seconds(site.pid) + max(map(processor_seconds, site.processes)))
    with gunicorn(environment, *arguments) as site:
        first_page(site)
        time.sleep(3)
        idle = [mib(pid) for pid in site.processes]
        contestant = pages.Contestant(1_000, site.port, keys)
        for number in range(2):
            for what in pages.addresses(contestant.members):
                if what != pages.BASE:  # which is not a page of the site
                    contestant.ask(what, seconds=1, seed=number)
        return {
            "seconds to the first page": [round(each, 2) for each in seconds],
            "median": round(statistics.median(seconds), 2),
            "median of the processor seconds": round(statistics.median(of_a_core), 2),
            "requests": sum(map(len, contestant.latencies.values())),
            "MiB, idle": idle,
            "MiB, after the requests": [mib(pid) for pid in site.processes],
            "MiB of the first process": mib(site.pid),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with private_server() as server:
        keys = pages.fill(server, DATABASE, members=1_000)
        pages.manage(
            server, DATABASE, "collectstatic", "--no-input", "-v", "0", "--settings", "council.settings"
        )
        print(json.dumps({**server.record(), "load": os.getloadavg()}, indent=2))  # noqa: T201
        for arguments in ([], ["--preload"]):
            result = {" ".join(arguments): measure(server, keys, *arguments, runs=options.runs)}
            print(json.dumps(result, indent=2), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
