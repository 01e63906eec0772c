"""What every answer tells the browser: what it may load, keep, and hand on."""

from collections.abc import Callable

from csp.constants import SELF
from csp.middleware import CSPMiddleware, PolicyParts
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
    """The site's policy (CONTENT_SECURITY_POLICY), which knows no script; Django's admin may run its own files."""

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
    """Keep answers out of every cache, and devices out of reach. Static files do not come by here."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "no-store, private")
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        return response
