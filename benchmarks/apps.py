"""The app's configuration."""

from django.apps import AppConfig

from benchmarks import functions


class BenchmarksConfig(AppConfig):
    name = "benchmarks"
    functions = functions.ALL

    def ready(self) -> None:
        from benchmarks import home, jobs, staff_figures  # noqa: F401, PLC0415  # they register themselves; models must be loaded
