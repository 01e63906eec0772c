"""Django's entry for this app."""

from django.apps import AppConfig


class BenchmarksConfig(AppConfig):
    name = "benchmarks"
