"""The app's configuration."""

from django.apps import AppConfig

from gamification import functions


class GamificationConfig(AppConfig):
    name = "gamification"
    functions = functions.ALL

    def ready(self) -> None:
        from gamification import health, home, jobs, staff_figures  # noqa: F401, PLC0415  # they register themselves; models must be loaded
