"""Django's entry for this app."""

from django.apps import AppConfig
from django.conf import settings
from django.contrib.admin import apps as admin_apps


class CouncilConfig(AppConfig):
    name = "council"
    default = True

    def ready(self) -> None:
        # They register what they have; models are there only now.
        from council import checks, figures, home, jobs  # noqa: F401, PLC0415

        if settings.SENTRY_DSN:
            from council import error_reports  # noqa: PLC0415

            error_reports.begin()


class AdminConfig(admin_apps.AdminConfig):
    """Django's admin, on our site (admin_site.py)."""

    default = False
    default_site = "council.admin_site.AdminSite"
