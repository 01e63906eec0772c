"""Django's entry for this app."""

from django.apps import AppConfig

from benchmarks import functions


class BenchmarksConfig(AppConfig):
    name = "benchmarks"
    functions = functions.ALL
