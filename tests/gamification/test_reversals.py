"""Reversals: an entry can be reversed once, with a row that refers to it."""

import pytest
from django.db import transaction

from council.accounts.models import Account
from council.models import AuditLog, Member
from gamification import ledger
from gamification.models import Action, PointTransaction
from tests.factories import PointTransactionFactory

REASON = "Paid for a duplicate account"


def test_a_reversal_takes_the_points_back_and_is_logged(mia: Member, sam: Account) -> None:
    entry = PointTransactionFactory.create(member=mia, points=25)
    PointTransactionFactory.create(member=mia, points=5, action="resource_download")

    row = ledger.reverse(entry_id=entry.pk, reason=f" {REASON} ", performed_by=sam)

    mia.refresh_from_db()
    assert mia.total_points == 5
    assert (row.points, row.action, row.reverses, row.reason) == (-25, "intro_completed", entry, REASON)
    log = AuditLog.objects.get()
    assert (log.action, log.entity_type, log.entity_id) == ("POINTS_REVERSED", "Member", mia.pk)
    assert log.performed_by == "sam"
    assert log.details == {
        "points": -25,
        "reason": REASON,
        "previousTotal": 30,
        "newTotal": 5,
        "reverses": entry.pk,
    }


def test_a_deduction_can_be_reversed(mia: Member, sam: Account) -> None:
    entry = PointTransactionFactory.create(member=mia, points=-25, action="admin_adjustment")
    ledger.reverse(entry_id=entry.pk, reason=REASON, performed_by=sam)
    mia.refresh_from_db()
    assert (mia.total_points, mia.last_active_at) == (0, None)


def test_an_award_that_was_reversed_is_not_paid_again(mia: Member, sam: Account) -> None:
    award = ledger.Award(mia.pk, Action.RESOURCE_DOWNLOAD, "r1")
    entry = ledger.award(award)
    assert entry is not None
    ledger.reverse(entry_id=entry.pk, reason=REASON, performed_by=sam)
    assert ledger.award(award) is None


def test_reversing_twice_is_refused(mia: Member, sam: Account) -> None:
    entry = PointTransactionFactory.create(member=mia)
    ledger.reverse(entry_id=entry.pk, reason=REASON, performed_by=sam)
    with pytest.raises(ledger.AlreadyReversed, match="Already reversed: an entry can be reversed only once."):
        ledger.reverse(entry_id=entry.pk, reason=REASON, performed_by=sam)
    assert (PointTransaction.objects.count(), AuditLog.objects.count()) == (2, 1)


def test_a_reversal_of_a_reversal_is_refused(mia: Member, sam: Account) -> None:
    entry = PointTransactionFactory.create(member=mia)
    row = ledger.reverse(entry_id=entry.pk, reason=REASON, performed_by=sam)
    with pytest.raises(ledger.Refused, match="a reversal and cannot be reversed. Adjust"):
        ledger.reverse(entry_id=row.pk, reason=REASON, performed_by=sam)


@pytest.mark.parametrize("entry_id", ["cgone", "", "\0"])
def test_an_unknown_entry_is_refused(sam: Account, entry_id: str) -> None:
    with pytest.raises(ledger.Refused), transaction.atomic():
        ledger.reverse(entry_id=entry_id, reason=REASON, performed_by=sam)


@pytest.mark.parametrize("reason", ["too short", " " * 20, "x" * 501])
def test_a_reason_has_10_to_500_characters(reason: str, mia: Member, sam: Account) -> None:
    entry = PointTransactionFactory.create(member=mia)
    with pytest.raises(ledger.Refused, match="Give a reason of 10 to 500 characters."):
        ledger.reverse(entry_id=entry.pk, reason=reason, performed_by=sam)


@pytest.mark.parametrize("reason", ["a reason with \0 in it", "a reason with \ud800 in it"])
def test_a_reason_that_cannot_be_stored_is_refused(reason: str, mia: Member, sam: Account) -> None:
    entry = PointTransactionFactory.create(member=mia)
    with pytest.raises(ledger.Refused, match="Nothing was written"), transaction.atomic():
        ledger.reverse(entry_id=entry.pk, reason=reason, performed_by=sam)


def test_the_smallest_integer_cannot_be_reversed(mia: Member, sam: Account) -> None:
    entry = PointTransactionFactory.create(member=mia, points=-(2**31))
    with pytest.raises(ledger.Refused, match="would leave the range"), transaction.atomic():
        ledger.reverse(entry_id=entry.pk, reason=REASON, performed_by=sam)


def test_a_reversal_and_its_log_are_one_transaction(
    mia: Member, sam: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no log")

    entry = PointTransactionFactory.create(member=mia, points=30)
    monkeypatch.setattr(ledger, "_log", fail)
    with pytest.raises(RuntimeError, match="no log"):
        ledger.reverse(entry_id=entry.pk, reason=REASON, performed_by=sam)
    assert not entry.reversals.exists()
