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
    """Take away a Content-Type that Django fails on while it makes the request, before any middleware is asked.

    That is one which Python cannot parse, and one whose charset is no encoding of text. requests.OnlyText refuses them.
    """
    try:
        _, parameters = parse_header_parameters(environ.get("CONTENT_TYPE", ""))
        if "charset" in parameters:
            b"x".decode(parameters["charset"])
    except Exception:  # whatever Python's parser of mail headers raises
        return {**environ, "CONTENT_TYPE": requests.UNREADABLE}
    return environ
