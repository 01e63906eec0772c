"""Concurrent requests never multiply a session."""

import threading
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connections
from django.test import Client

from council.models import Member, SubscriptionStatus
from tests.databases import Database
from tests.factories import MemberFactory, hashed

PASSWORD = "correct horse"


@pytest.mark.parametrize("cause", ["standing", "key"])
def test_concurrent_requests_do_not_multiply_a_session(migrated: Database, cause: str, settings: Any) -> None:
    answers: list[int] = []
    with migrated.as_default_connection():
        MemberFactory.create(
            email="mia@acme.example",
            password_hash=hashed(PASSWORD),
            subscription_status=SubscriptionStatus.PAST_DUE,
        )
        browser = Client()
        browser.post("/sign-in/", {"email": "mia@acme.example", "password": PASSWORD})
        if cause == "standing":
            Member.objects.update(subscription_status=SubscriptionStatus.ACTIVE)
        else:
            settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another"
        start = threading.Barrier(8)

        def ask() -> None:
            mine = Client(HTTP_COOKIE=f"sessionid={browser.cookies['sessionid'].value}")
            start.wait()
            answers.append(mine.get("/membership/").status_code)
            connections["default"].close()

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [200] * 8
        assert Session.objects.count() == 1
        assert browser.get("/membership/").status_code == 200
