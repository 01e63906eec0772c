"""Django's entry for this app."""

from django.apps import AppConfig

from benchmarks import functions


class BenchmarksConfig(AppConfig):
    name = "benchmarks"
    functions = functions.ALL

    def ready(self) -> None:
        from benchmarks import home, jobs, staff_figures  # noqa: F401, PLC0415  # registers what it has; models are there only now
