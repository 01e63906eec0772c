"""The base of the site's forms, and the forms of the two sign-in pages."""

from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.auth import authenticate
from django.db import transaction
from django.http import HttpRequest

from council import audit, auth, passwords, throttle
from council.accounts.models import Account

WRONG = "The email or the password is wrong."


class Form(forms.Form):
    """The base of all forms. Templates show fields with council/_field.html, errors with council/_faults.html."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class SignInForm(Form):
    """A member's email and password. Once the form is valid, `account` is the account that signed in."""

    account: Account

    email = forms.CharField(
        max_length=auth.MAX_EMAIL_LENGTH,
        widget=forms.EmailInput(attrs={"autocomplete": "username", "autocapitalize": "none"}),
        error_messages={"required": "Enter your email."},
    )
    password = forms.CharField(
        max_length=passwords.MAX_LENGTH,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password."},
    )

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.request = request
        super().__init__(*args, **kwargs)

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if self.errors:
            return given  # no password was checked, so nothing is counted
        with throttle.slot():
            attempt = throttle.begin(self.request, door="member", email=given["email"])
            account = authenticate(self.request, email=given["email"], password=given["password"])
        if not isinstance(account, Account):
            raise forms.ValidationError(WRONG, code="wrong")
        attempt.succeeded()
        self.account = account
        return given


class StaffSignInForm(AdminAuthenticationForm):
    """The sign-in form for staff: an email for the gateway's staff, a username for `createsuperuser` accounts."""

    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": f"{WRONG} This page is for staff. Members sign in on another page.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "Email or username"

    def clean(self) -> dict[str, Any]:
        if self.errors:
            return self.cleaned_data
        assert self.request
        with throttle.slot():
            name = auth.counted_as(self.cleaned_data["username"])
            attempt = throttle.begin(self.request, door="staff", email=name)
            cleaned = super().clean()
        attempt.succeeded()
        return cleaned


class OwnPasswordChangeForm(AdminPasswordChangeForm):
    """A new password for a `createsuperuser` account. A wrong old password counts like a failed sign-in."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.request = request
        super().__init__(*args, **kwargs)

    def clean_old_password(self) -> str:
        with throttle.slot():
            attempt = throttle.begin(self.request, door="password", email=str(self.user.pk))
            old: str = super().clean_old_password()
        attempt.succeeded()
        return old

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002
        """Store the new password, and log the change in the audit log."""
        with transaction.atomic(), throttle.slot():
            before = audit.stored_values(self.user)
            account = super().save(commit)
            audit.record_change(
                account,
                before=before,
                after=audit.stored_values(account),
                by=account,
                left_out=["last_login"],
            )
        return account


class SecondFactorForm(Form):
    """A code from an authenticator app, or a recovery code."""

    code = forms.CharField(
        max_length=40,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "autocapitalize": "none",
                "spellcheck": "false",
                "autofocus": True,
            }
        ),
        error_messages={"required": "Enter the code."},
    )
