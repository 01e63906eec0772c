"""Django's entry for this app."""

from django.apps import AppConfig


class CouncilConfig(AppConfig):
    name = "council"
