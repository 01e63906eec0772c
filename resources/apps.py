"""Django's entry for this app."""

from django.apps import AppConfig


class ResourcesConfig(AppConfig):
    name = "resources"
