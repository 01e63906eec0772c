"""What is kept about sessions, and what goes when they end."""

from datetime import timedelta
from unittest import mock

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import DatabaseError
from django.test import Client, RequestFactory
from django.utils import timezone

from council import sessions
from council.accounts.models import Account, AccountSession
from tests.factories import AccountFactory

pytestmark = [pytest.mark.any_server, pytest.mark.django_db]


def kept(account: Account, key: str, *, hours: int | None) -> None:
    """Record a session that ends in so many hours, or that is gone."""
    AccountSession.objects.create(session_key=key, account=account, browser="Firefox on Linux")
    if hours is not None:
        Session.objects.create(
            session_key=key, session_data="", expire_date=timezone.now() + timedelta(hours=hours)
        )


def keys_of(account: Account) -> list[str]:
    keys = AccountSession.objects.filter(account=account).order_by("session_key")
    return list(keys.values_list("session_key", flat=True))


def test_signing_out_everywhere_removes_the_account_s_sessions_and_no_others() -> None:
    anna, ben = AccountFactory.create(), AccountFactory.create()
    kept(anna, "a", hours=1)
    kept(anna, "b", hours=1)
    kept(ben, "c", hours=1)
    sessions.end_everywhere(account=anna)
    assert [session.session_key for session in Session.objects.all()] == ["c"]
    assert (keys_of(anna), keys_of(ben)) == ([], ["c"])


def test_signing_out_everywhere_happens_whole_or_not_at_all() -> None:
    anna = AccountFactory.create()
    before = anna.session_generation
    with (
        mock.patch.object(Session.objects, "filter", side_effect=DatabaseError),
        pytest.raises(DatabaseError),
    ):
        sessions.end_everywhere(account=anna)
    anna.refresh_from_db()
    assert anna.session_generation == before


def test_a_sign_in_forgets_the_account_s_sessions_that_have_ended() -> None:
    anna, ben = AccountFactory.create(), AccountFactory.create()
    kept(anna, "ended", hours=-1)
    kept(anna, "gone", hours=None)
    kept(anna, "lives", hours=1)
    kept(ben, "of-ben", hours=None)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    sessions.note_session(request=request, user=anna)
    assert request.session.session_key
    assert keys_of(anna) == sorted(["lives", request.session.session_key])
    assert keys_of(ben) == ["of-ben"]


def test_an_account_is_shown_its_own_sessions_that_are_live() -> None:
    anna, ben = AccountFactory.create(), AccountFactory.create()
    kept(anna, "the-live-one", hours=1)
    kept(anna, "ended", hours=-1)
    kept(anna, "gone", hours=None)
    kept(ben, "of-ben", hours=1)
    request = RequestFactory().get("/")
    request.session = SessionStore("the-live-one")
    assert [place.is_this for place in sessions.places(request, account=anna)] == [True]


def test_a_session_that_is_not_valid_any_more_is_removed() -> None:
    anna = AccountFactory.create()
    browser = Client()
    browser.force_login(anna)
    key = browser.cookies["sessionid"].value
    Account.objects.update(session_generation=anna.session_generation + 1)
    assert browser.get("/membership/").status_code == 302
    assert not Session.objects.filter(session_key=key).exists()
