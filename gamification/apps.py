"""Django's entry for this app."""

from django.apps import AppConfig


class GamificationConfig(AppConfig):
    name = "gamification"

    def ready(self) -> None:
        from gamification import verification  # noqa: F401, PLC0415  # registers its checks; models are there only now
