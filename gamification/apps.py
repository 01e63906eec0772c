"""Django's entry for this app."""

from django.apps import AppConfig

from gamification import functions


class GamificationConfig(AppConfig):
    name = "gamification"
    functions = functions.ALL

    def ready(self) -> None:
        from gamification import health, home, jobs, staff_figures  # noqa: F401, PLC0415  # registers what it has; models are there only now
