"""The WSGI application, for a production server."""

import os
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

from council import requests

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "council.settings")

django_application = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Serve a request."""
    return django_application(tidy(environ), start_response)


def tidy(environ: dict[str, Any]) -> dict[str, Any]:
    """Replace a Content-Type that makes Django fail while it builds the request, before any middleware runs.

    This is one that Python cannot parse, or whose charset is not a text encoding. requests.OnlyText then refuses it.
    """
    try:
        _, parameters = parse_header_parameters(environ.get("CONTENT_TYPE", ""))
        if "charset" in parameters:
            b"x".decode(parameters["charset"])
    except Exception:  # Python's parser of mail headers raises many kinds of errors
        return {**environ, "CONTENT_TYPE": requests.UNREADABLE}
    return environ
