"""Django's entry for this app."""

from django.apps import AppConfig

from gamification import functions


class GamificationConfig(AppConfig):
    name = "gamification"
    functions = functions.ALL

    def ready(self) -> None:
        from gamification import verification  # noqa: F401, PLC0415  # registers its checks; models are there only now
