"""Configuration of the app `resources`."""

from django.apps import AppConfig


class ResourcesConfig(AppConfig):
    name = "resources"

    def ready(self) -> None:
        from resources import home, jobs, staff_figures  # noqa: F401, PLC0415  # registers their parts; needs the models
