"""The gateway's cookie, a JSON Web Token that says who is signed in there. This application only reads it."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import jwt
from django.conf import settings
from django.http import HttpRequest

NAME = "trc_refresh"
MAX_LENGTH = 4_096


class Ticket(NamedTuple):
    """The id of the member who is signed in at the gateway, and the time when the cookie was issued."""

    member_id: str
    issued_at: datetime


def read(request: HttpRequest, *, leeway_seconds: int = 0) -> Ticket | None:
    """Read who is signed in at the gateway. Returns None without a valid cookie signed by the gateway.

    Only HS256 is accepted, whatever algorithm the token names. The clocks may differ by `leeway_seconds`.
    """
    secret, token = settings.GATEWAY_JWT_SECRET, request.COOKIES.get(NAME, "")
    if not secret or not token or len(token) > MAX_LENGTH:
        return None
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            options={"require": ["sub", "iat", "exp", "type"]},
            leeway=leeway_seconds,
        )
        if claims["type"] != "refresh":
            return None
        return Ticket(claims["sub"], datetime.fromtimestamp(int(claims["iat"]), UTC))
    except (jwt.InvalidTokenError, ValueError, OverflowError, OSError):
        return None
