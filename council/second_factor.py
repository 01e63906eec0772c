"""The second factor of staff: a code of an authenticator app (TOTP), or one of ten recovery codes, each good for once.

django-otp keeps the app's key, takes each code once, and slows down guesses. Recovery codes are stored as keyed hashes.
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
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without those that are taken for others


def is_missing(request: HttpRequest) -> bool:
    """Tell whether somebody who is signed in as staff has yet to give a code."""
    account: Any = request.user
    is_verified: bool = (
        not settings.STAFF_SECOND_FACTOR or not account.is_authenticated or account.is_verified()
    )
    return not is_verified


def is_set_up(account: Account) -> bool:
    return bool(TOTPDevice.objects.filter(user=account, confirmed=True).exists())


def begin(account: Account) -> TOTPDevice:
    """Make the key that the account's app is to have, or find the one that was shown before."""
    device, _ = TOTPDevice.objects.get_or_create(user=account, confirmed=False, defaults={"name": "app"})
    return cast(TOTPDevice, device)


def picture(device: TOTPDevice, *, account: Account) -> SafeString:
    """Draw what the app is to photograph, as SVG."""
    device.name = f"{ISSUER}: {account.get_short_name()}"
    code = segno.make(device.config_url, error="m")
    return mark_safe(  # noqa: S308  # drawn here
        code.svg_inline(scale=4, border=2, omitsize=False, title="Code for the authenticator app")
    )


def confirm(request: HttpRequest, *, account: Account, code: str) -> list[str] | None:
    """Set the factor up with the first code of the app, and give the recovery codes, which are shown once.

    None: the code is not the app's. Writes a SECOND_FACTOR_SET_UP row of the audit log.
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
    """Take a code of the app, or a recovery code, and remember it for the session."""
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
                continue  # a code of the app that was wrong is no guess at these
            known = locked.token_set.filter(token__in=tokens).first() if is_recovery else None
            if locked.verify_token(known.token if known else tokens[0]):
                if is_recovery:
                    _log("RECOVERY_CODE_USED", account=account, by=account)
                django_otp.login(request, locked)
                return True
    return False


def reset(*, account: Account, by: Account | None) -> bool:
    """Take the factor away, so that the account sets up another at the next sign-in; sessions end.

    Writes a SECOND_FACTOR_RESET row of the audit log. False: there was none. Without `by` it was the command.
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
    """Give what is stored for a recovery code: 16 characters, 64 bits of a keyed hash."""
    return salted_hmac("council.second_factor", code, secret=secret, algorithm="sha256").hexdigest()[:16]
