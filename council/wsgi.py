"""The WSGI application, for a production server."""

import os
from collections.abc import Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "council.settings")

django_application = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Serve a request, without a Content-Type that names an encoding which Python does not know.

    Django reads that header before any middleware is asked, and fails on it.
    """
    try:
        parse_header_parameters(environ.get("CONTENT_TYPE", ""))
    except Exception:  # whatever Python's parser of mail headers raises
        environ = {**environ, "CONTENT_TYPE": "application/octet-stream"}
    return django_application(environ, start_response)
