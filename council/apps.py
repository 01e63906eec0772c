"""Django's entry for this app."""

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import apps as admin_apps


class CouncilConfig(AppConfig):
    name = "council"
    default = True

    def ready(self) -> None:
        # They register what they have; models are there only now.
        from council import checks, error_reports, figures, home, jobs, verification  # noqa: F401, PLC0415

        if settings.SENTRY_DSN:
            error_reports.begin()


class AdminConfig(admin_apps.AdminConfig):
    """Django's admin, on our site (admin_site.py)."""

    default = False
    default_site = "council.admin_site.AdminSite"
