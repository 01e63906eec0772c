"""Django's entry for this app."""

from django.apps import AppConfig


class GamificationConfig(AppConfig):
    name = "gamification"
