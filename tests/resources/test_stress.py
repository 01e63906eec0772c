"""Downloads from several processes, some of which are killed during a download."""

from tests.databases import Database
from tests.stress_downloads import Stress


def test_all_figures_are_right_after_downloads_were_killed(migrated: Database) -> None:
    """Runs a small part of `python -m tests.stress_downloads`."""
    stress = Stress(migrated, downloads=400, processes=4, kills=20)
    with migrated.as_default_connection():
        stress.run()

    assert stress.faults == []
    assert (stress.done, stress.killed) == (400, 20)
    assert stress.killed_after_commit < 15
    assert stress.deadlocks == 0
