"""The groups of apps: what to install from PyPI, and what to put into INSTALLED_APPS."""

from dataclasses import dataclass, field
from typing import Any

MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]


@dataclass(frozen=True)
class Group:
    packages: list[str]
    apps: list[str]
    settings: dict[str, Any] = field(default_factory=dict)


WAGTAIL = (
    "contrib.forms contrib.redirects contrib.routable_page contrib.search_promotions contrib.settings "
    "contrib.simple_translation "
    "embeds sites users snippets documents images search admin"
)
MACHINA = (
    "forum_conversation forum_conversation.forum_attachments forum_conversation.forum_polls forum_feeds "
    "forum_moderation forum_search forum_tracking forum_member forum_permission forum"
)
GROUPS = {
    "wagtail": Group(
        ["wagtail==8.0.1"],
        [*(f"wagtail.{name}" for name in WAGTAIL.split()), "wagtail", "modelcluster", "taggit"],
        {"WAGTAIL_SITE_NAME": "x", "WAGTAILADMIN_BASE_URL": "http://x"},
    ),
    "oscar": Group(  # the package lists its many apps itself
        ["django-oscar==4.2.1"],
        [],
        {
            "SITE_ID": 1,
            "HAYSTACK_CONNECTIONS": {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}},
        },
    ),
    "cms": Group(
        ["django-cms==5.1.3"],
        ["django.contrib.sites", "cms", "menus", "treebeard", "sekizai"],
        {"SITE_ID": 1, "LANGUAGES": [("en", "English")], "CMS_CONFIRM_VERSION4": True},
    ),
    "allauth": Group(
        ["django-allauth[mfa,socialaccount]==65.21.1"],
        [
            "django.contrib.sites",
            "allauth",
            "allauth.account",
            "allauth.socialaccount",
            "allauth.usersessions",
            "allauth.mfa",
        ],
        {"SITE_ID": 1, "MIDDLEWARE": [*MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"]},
    ),
    "oauth": Group(["django-oauth-toolkit==3.4.1"], ["oauth2_provider"]),
    "wiki": Group(
        ["wiki==0.13.0"],
        [
            "django.contrib.sites",
            "django.contrib.humanize",
            "django_nyt",
            "mptt",
            "sorl.thumbnail",
            "wiki",
            "wiki.plugins.attachments",
            "wiki.plugins.notifications",
            "wiki.plugins.images",
            "wiki.plugins.macros",
        ],
        {"SITE_ID": 1},
    ),
    "djstripe": Group(["dj-stripe==2.11.0"], ["djstripe"], {"DJSTRIPE_FOREIGN_KEY_TO_FIELD": "id"}),
    "filer": Group(["django-filer==3.6.0"], ["easy_thumbnails", "filer", "mptt"]),
    "machina": Group(
        ["django-machina==1.3.1"],
        [
            "mptt",
            "haystack",
            "widget_tweaks",
            "machina",
            *(f"machina.apps.{name}" for name in MACHINA.split()),
        ],
        {
            "HAYSTACK_CONNECTIONS": {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}},
            "CACHES": {
                "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
                "machina_attachments": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
            },
        },
    ),
    "celery-beat": Group(["django-celery-beat==2.9.0"], ["django_celery_beat"]),
    "q2": Group(["django-q2==1.11.1"], ["django_q"]),
    "history": Group(
        ["django-simple-history==3.13.0", "django-waffle==5.0.0", "djangorestframework==3.18.3"],
        ["simple_history", "waffle", "rest_framework", "rest_framework.authtoken"],
    ),
}
