"""Django's entry for this app."""

from django.apps import AppConfig


class CouncilConfig(AppConfig):
    name = "council"

    def ready(self) -> None:
        from council import checks, jobs, verification  # noqa: F401, PLC0415  # registers them; models are there only now
