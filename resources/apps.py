"""Django's entry for this app."""

from django.apps import AppConfig


class ResourcesConfig(AppConfig):
    name = "resources"

    def ready(self) -> None:
        from resources import home, jobs, staff_figures  # noqa: F401, PLC0415  # registers what it has; models are there only now
