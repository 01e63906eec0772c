"""Configuration of the app `council`, and of Django's admin."""

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import apps as admin_apps


class CouncilConfig(AppConfig):
    name = "council"
    default = True

    def ready(self) -> None:
        # Importing these modules registers checks, figures and jobs. They need the models, which are loaded by now.
        from council import checks, figures, home, jobs  # noqa: F401, PLC0415

        if settings.SENTRY_DSN:
            from council import error_reports  # noqa: PLC0415

            error_reports.begin()


class AdminConfig(admin_apps.AdminConfig):
    """Django's admin with this project's site (admin_site.py)."""

    default = False
    default_site = "council.admin_site.AdminSite"
