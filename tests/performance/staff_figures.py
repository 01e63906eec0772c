"""Measure the page of figures in the admin, and the job that computes them, for two sizes.

    python -m tests.performance.staff_figures [--members 1000000] [--rounds 4] [--quick] [--json FILE]

Compares two databases, one with a hundredth of the other's members. Members have ten ledger rows each. The page is
requested through Django's whole stack, including session, account and template. The databases take turns. Then the file
of all members at risk is read to its end, to measure its time and memory. It takes about fifteen minutes, most of them
to make the rows. It prints tables, and writes every figure to build/staff_figures.json.
"""

import argparse
import json
import logging
import os
import statistics
import time
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
if __name__ == "__main__":
    django.setup()

from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from council import jobs
from council.accounts.models import Account
from council.figures import FIGURES, computing
from council.models import JobRun
from tests.performance import ledger_data
from tests.performance.ledger import Contestant
from tests.performance.measuring import MIB, PROJECT, Server, forget_peak, memory, private_server, table

log = logging.getLogger(__name__)

MAX_GROWTH, MAX_MS = 2.0, 300.0
PAGE = "the page"
ALL, FILE = "the job: all figures", "the file of all members at risk"
FIRST = "… its first row"


def staff() -> Client:
    account, _ = Account.objects.get_or_create(
        username="measuring", defaults={"is_staff": True, "is_superuser": True}
    )
    browser = Client()
    browser.force_login(account, "council.auth.StaffBackend")
    return browser


def compute(contestant: Contestant) -> None:
    """Run the job as the scheduler does, and then time each figure separately."""
    began = time.perf_counter()
    run = jobs.run(jobs.JOBS["compute_figures"])
    contestant.figures[ALL] = [(time.perf_counter() - began) * 1000]
    assert run is not None
    assert run.outcome == JobRun.Outcome.DONE, run.error
    for name, figure in FIGURES.items():
        contestant.time(f"… {name}", [lambda figure=figure: computing.compute(figure)])  # type: ignore[misc]


def ask(contestant: Contestant, *, calls: int) -> int:
    """Request the page, and return the number of its queries."""
    browser, address = staff(), reverse("admin:council_figuretable_changelist")

    def page() -> None:
        response = browser.get(address)
        assert response.status_code == 200, response.status_code
        assert response.content.count(b"As of ") == len(FIGURES)

    contestant.time_warm(PAGE, page, calls=calls)
    with CaptureQueriesContext(connection) as captured:
        page()
    return len(captured)


def export(contestant: Contestant) -> dict[str, float]:
    """Read the file of all members at risk to its end. Returns its rows, its size and the memory that it took."""
    address = reverse("admin:council_figuretable_export", args=["risk"])
    browser, pid = staff(), os.getpid()
    idle = memory(pid, "VmRSS")
    forget_peak(pid)
    began = time.perf_counter()
    response: Any = browser.post(address, {"format": "csv"})
    rows = size = 0
    for part in response:
        if rows == 1:
            contestant.figures[FIRST] = [(time.perf_counter() - began) * 1000]
        rows += 1
        size += len(part)
    contestant.figures[FILE] = [(time.perf_counter() - began) * 1000]
    above = (memory(pid, "VmHWM") - idle) / MIB
    return {"rows": rows - 1, "MiB": round(size / MIB, 1), "memory, MiB above idle": round(above, 1)}


def measure(server: Server, sizes: list[int], *, rounds: int, calls: int) -> tuple[list[Contestant], Any]:
    contestants = [Contestant(server, members) for members in sizes]
    facts: dict[int, dict[str, float]] = {}
    for contestant in contestants:
        server.migrate(contestant.name)
        ledger_data.fill(server, contestant.name, members=contestant.members)
        with contestant.server.in_django(contestant.name):
            compute(contestant)
        log.info("%s: computed", contestant.name)
    for _ in range(rounds):
        for contestant in contestants:
            with contestant.server.in_django(contestant.name):
                facts[contestant.members] = {"queries": ask(contestant, calls=calls)}
    for contestant in contestants:
        with contestant.server.in_django(contestant.name):
            facts[contestant.members] |= export(contestant)
    return contestants, facts


def report(contestants: list[Contestant]) -> str:
    rows = [["", *(f"{c.members:,} members" for c in contestants), "times"]]
    for what in contestants[0].figures:
        small, large = (statistics.median(contestant.figures[what]) for contestant in contestants)
        rows.append([what, f"{small:,.1f}", f"{large:,.1f}", f"{large / small:.2f}"])
    return table(rows)


def bars(contestants: list[Contestant]) -> dict[str, bool]:
    small, large = (statistics.median(contestant.figures[PAGE]) for contestant in contestants)
    return {
        f"the page grows {large / small:.2f} times, at most {MAX_GROWTH:.0f}": large <= MAX_GROWTH * small,
        f"the page takes {large:.0f} ms, at most {MAX_MS:.0f}": large <= MAX_MS,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--members", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path, default=PROJECT / "build" / "staff_figures.json")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to try the script; no limit is checked"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    members, calls = (20_000, 5) if options.quick else (options.members, 15)
    with private_server() as server, override_settings(ALLOWED_HOSTS=["testserver"]):
        record: dict[str, Any] = {**server.record(), "load": os.getloadavg()}
        contestants, facts = measure(server, [members // 100, members], rounds=options.rounds, calls=calls)
    judged = {} if options.quick else bars(contestants)
    record |= {"bars": judged, "facts": facts}
    record["figures"] = {contestant.members: contestant.figures for contestant in contestants}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(record, indent=2) + "\n")
    verdicts = [f"{'met' if is_met else 'MISSED'}: {bar}" for bar, is_met in judged.items()]
    print("In ms:", report(contestants), facts, *verdicts, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
