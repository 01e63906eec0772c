"""The second factor of staff: a code from an authenticator app (TOTP), or one of ten recovery codes.

django-otp stores the app's key, accepts each code once, and slows down guessing. Recovery codes are keyed hashes.
"""

import secrets
from typing import Any, cast

import django_otp
import segno
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from django.utils.safestring import SafeString, mark_safe
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

from council.accounts.models import Account
from council.models import AuditLog

ISSUER = "Revenue Council"
COMMAND = "reset_second_factor"
RECOVERY_CODES = 10
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without characters that look alike, such as l and 1


def is_missing(request: HttpRequest) -> bool:
    """Tell whether the account that is signed in must still enter a code."""
    account: Any = request.user
    is_verified: bool = (
        not settings.STAFF_SECOND_FACTOR or not account.is_authenticated or account.is_verified()
    )
    return not is_verified


def is_set_up(account: Account) -> bool:
    return bool(TOTPDevice.objects.filter(user=account, confirmed=True).exists())


def begin(account: Account) -> TOTPDevice:
    """Create a key for the account's app, or find the one that was shown before."""
    device, _ = TOTPDevice.objects.get_or_create(user=account, confirmed=False, defaults={"name": "app"})
    return cast(TOTPDevice, device)


def picture(device: TOTPDevice, *, account: Account) -> SafeString:
    """Draw the QR code for the app as SVG."""
    device.name = f"{ISSUER}: {account.get_short_name()}"
    code = segno.make(device.config_url, error="m")
    return mark_safe(  # noqa: S308  # drawn here
        code.svg_inline(scale=4, border=2, omitsize=False, title="Code for the authenticator app")
    )


def confirm(request: HttpRequest, *, account: Account, code: str) -> list[str] | None:
    """Set up the factor with the app's first code, and return the recovery codes, which are shown only once.

    Returns None if the code is wrong. Logs SECOND_FACTOR_SET_UP in the audit log.
    """
    with transaction.atomic():
        Account.objects.select_for_update(no_key=True).get(pk=account.pk)
        if is_set_up(account):
            return None
        device = begin(account)
        if not device.verify_token(code.strip().replace(" ", "")):
            return None
        device.confirmed = True
        device.save()
        StaticDevice.objects.filter(user=account).delete()
        recovery = StaticDevice.objects.create(user=account, name="recovery codes")
        codes = ["".join(secrets.choice(ALPHABET) for _ in range(10)) for _ in range(RECOVERY_CODES)]
        for each in codes:
            recovery.token_set.create(token=_stored(each, settings.SECRET_KEY))
        _log("SECOND_FACTOR_SET_UP", account=account, by=account)
    django_otp.login(request, device)
    return [f"{each[:5]}-{each[5:]}" for each in codes]


def verify(request: HttpRequest, *, account: Account, code: str) -> bool:
    """Check a code from the app or a recovery code. If it is right, mark the session as verified."""
    given = code.strip().lower().replace(" ", "").replace("-", "")
    with transaction.atomic():
        candidates = [
            (device, [given]) for device in TOTPDevice.objects.devices_for_user(account, confirmed=True)
        ]
        secrets_known = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        candidates += [
            (device, [_stored(given, secret) for secret in secrets_known])
            for device in StaticDevice.objects.devices_for_user(account, confirmed=True)
        ]
        for device, tokens in candidates:
            locked = type(device).objects.select_for_update().get(pk=device.pk)
            is_recovery = isinstance(device, StaticDevice)
            if is_recovery and len(given) != 10:
                continue  # a wrong code from the app must not count as a guess at the recovery codes
            known = locked.token_set.filter(token__in=tokens).first() if is_recovery else None
            if locked.verify_token(known.token if known else tokens[0]):
                if is_recovery:
                    _log("RECOVERY_CODE_USED", account=account, by=account)
                django_otp.login(request, locked)
                return True
    return False


def reset(*, account: Account, by: Account | None) -> bool:
    """Remove the factor. Existing sessions and the next sign-in must set up a new one.

    Returns False if there was no factor. Logs SECOND_FACTOR_RESET in the audit log. `by` is None for the command.
    """
    with transaction.atomic():
        removed = sum(model.objects.filter(user=account).delete()[0] for model in (TOTPDevice, StaticDevice))
        if removed:
            _log("SECOND_FACTOR_RESET", account=account, by=by)
    return bool(removed)


def _log(action: str, *, account: Account, by: Account | None) -> None:
    AuditLog.objects.create(
        action=action,
        entity_type="Account",
        entity_id=str(account.pk),
        details={"username": account.username},
        performed_by=by.staff_id if by else COMMAND,
    )


def _stored(code: str, secret: str) -> str:
    """Return the stored form of a recovery code: 64 bits of a keyed hash, as 16 characters."""
    return salted_hmac("council.second_factor", code, secret=secret, algorithm="sha256").hexdigest()[:16]
