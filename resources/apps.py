"""Django's entry for this app."""

from django.apps import AppConfig


class ResourcesConfig(AppConfig):
    name = "resources"

    def ready(self) -> None:
        from resources import verification  # noqa: F401, PLC0415  # registers its checks; models are there only now
