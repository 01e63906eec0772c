"""What the site's forms have in common, and what is filled in at the two doors."""

from typing import Any

from django import forms
from django.contrib.admin.forms import AdminAuthenticationForm, AdminPasswordChangeForm
from django.contrib.auth import authenticate
from django.db import transaction
from django.http import HttpRequest

from council import audit, auth, passwords, throttle
from council.accounts.models import Account

WRONG = "This email and password do not belong together, or nobody has this email."


class Form(forms.Form):
    """A form of the site's pages. Show its fields with council/_field.html, its faults with council/_faults.html."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})


class SignInForm(Form):
    """A member's email and password. `account` is who signed in, once the form is valid."""

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
            return given  # nothing was tried
        with throttle.place():
            attempt = throttle.begin(self.request, door="member", email=given["email"])
            account = authenticate(self.request, email=given["email"], password=given["password"])
        if not isinstance(account, Account):
            raise forms.ValidationError(WRONG, code="wrong")
        attempt.succeeded()
        self.account = account
        return given


class StaffSignInForm(AdminAuthenticationForm):
    """The gateway's staff by email, accounts of `createsuperuser` by username."""

    error_messages = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": f"{WRONG} Members sign in elsewhere: this door is for staff.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "Email or username"

    def clean(self) -> dict[str, Any]:
        if self.errors:
            return self.cleaned_data
        assert self.request
        with throttle.place():
            name = auth.counted_as(self.cleaned_data["username"])
            attempt = throttle.begin(self.request, door="staff", email=name)
            cleaned = super().clean()
        attempt.succeeded()
        return cleaned


class OwnPasswordChangeForm(AdminPasswordChangeForm):
    """A new password for an account of `createsuperuser`. Guesses at the old one count as failed sign-ins do."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.request = request
        super().__init__(*args, **kwargs)

    def clean_old_password(self) -> str:
        with throttle.place():
            attempt = throttle.begin(self.request, door="password", email=str(self.user.pk))
            old: str = super().clean_old_password()
        attempt.succeeded()
        return old

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002
        """Store the new password, with the audit row that says so."""
        with transaction.atomic(), throttle.place():
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
    """A code of an authenticator app, or a recovery code."""

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
