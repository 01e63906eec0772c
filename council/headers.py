"""Response headers that tell the browser what it may load, cache and pass on.

Both middleware classes come before Django's own, so that they also see the responses which Django's middleware makes,
such as the redirect to TLS and the refusal of an unknown host.
"""

from collections.abc import Callable

from csp.constants import SELF
from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase

PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "camera",
        "display-capture",
        "geolocation",
        "microphone",
        "payment",
        "publickey-credentials-get",
    )
)


class ContentSecurityPolicy(CSPMiddleware):
    """Send the site's policy (CONTENT_SECURITY_POLICY). It allows no scripts, except the admin's own files there."""

    def get_policy_parts(
        self,
        request: HttpRequest,
        response: HttpResponseBase,
        report_only: bool = False,  # noqa: FBT001, FBT002
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        match = request.resolver_match
        if match and "admin" in match.app_names:
            parts.update = {"script-src": [SELF], "connect-src": [SELF], **(parts.update or {})}
        return parts


class Headers:
    """Set the security headers. Responses that set no caching of their own, as static files do, are not cached."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in _always(request):
            response.headers.setdefault(name, value)
        return response


def _always(request: HttpRequest) -> list[tuple[str, str]]:
    found = [
        ("Cache-Control", "no-store, private"),
        ("Permissions-Policy", PERMISSIONS_POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", settings.X_FRAME_OPTIONS),
        ("Referrer-Policy", settings.SECURE_REFERRER_POLICY or "same-origin"),
        ("Cross-Origin-Opener-Policy", settings.SECURE_CROSS_ORIGIN_OPENER_POLICY or "same-origin"),
    ]
    if settings.SECURE_HSTS_SECONDS and request.is_secure():
        subdomains = "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
        found.append(("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}{subdomains}"))
    return found
