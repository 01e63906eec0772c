"""The cookie by which the gateway knows who is signed in there: a JSON Web Token. It is only read here."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

import jwt
from django.conf import settings
from django.http import HttpRequest

NAME = "trc_refresh"
MAX_LENGTH = 4_096


class Ticket(NamedTuple):
    """Who is signed in at the gateway, by the member's id, and when the cookie was issued."""

    member_id: str
    issued_at: datetime


def read(request: HttpRequest, *, leeway_seconds: int = 0) -> Ticket | None:
    """Read who is signed in at the gateway; None without a cookie that the gateway signed and that is in force.

    The algorithm is ours to say, not the token's: HS256. With a leeway, the two clocks may differ by so much.
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
