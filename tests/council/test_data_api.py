"""Closing the gateway's tables to the data API, and opening them again."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from council import data_api
from council.models import AuditLog
from council.verification.data_api_checks import ROLES

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _roles(db: None) -> None:
    with connection.cursor() as cursor:
        for role in ROLES:
            cursor.execute(f"SELECT 1 FROM pg_roles WHERE rolname = '{role}'")
            if not cursor.fetchone():
                cursor.execute(f"CREATE ROLE {role}")
        cursor.execute(
            """GRANT USAGE ON SCHEMA public TO anon, authenticated; GRANT SELECT ON "PointRule", django_session TO anon;
            GRANT ALL ON "Member", "Team" TO anon; GRANT SELECT (email) ON "Admin" TO authenticated;
            GRANT SELECT ON "FeatureFlag" TO PUBLIC; GRANT UPDATE ON "Team" TO anon WITH GRANT OPTION"""
        )


def test_without_apply_it_says_what_it_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    before = data_api.grants()
    call_command("close_data_api")
    out = capsys.readouterr().out
    assert 'REVOKE ALL ON "Member" FROM' in out
    assert "PUBLIC means every role" in out
    assert "Nothing was changed." in out
    assert data_api.grants() == before


def test_it_closes_all_tables_and_restores_their_grants(capsys: pytest.CaptureFixture[str]) -> None:
    before = data_api.grants()
    assert {grant.table for grant in before} == {"Admin", "FeatureFlag", "Member", "PointRule", "Team"}
    call_command("close_data_api", apply=True)
    assert (data_api.grants(), data_api.still_open()) == ([], [])
    call_command("close_data_api", apply=True)
    assert "Nothing to do" in capsys.readouterr().out
    call_command("close_data_api", undo=True, apply=True)
    assert data_api.grants() == before
    assert next(row.action for row in AuditLog.objects.order_by("created_at", "pk")) == "DATA_API_CLOSED"
    AuditLog.objects.filter(action="DATA_API_CLOSED").delete()
    with pytest.raises(CommandError, match="There is nothing to undo"):
        call_command("close_data_api", undo=True)


def test_nothing_is_changed_if_a_table_would_stay_open(capsys: pytest.CaptureFixture[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute('CREATE ROLE readers; GRANT SELECT ON "Member" TO readers; GRANT readers TO anon')
    with pytest.raises(CommandError, match="Member would stay open"):
        call_command("close_data_api", apply=True)
    assert not AuditLog.objects.exists()
