"""Columns of Prisma's types, used through the ORM."""

import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, models
from django.db.models.functions import Now, TruncDay
from django.utils import timezone as django_timezone

from council.accounts.models import Account
from council.models import Admin, AdminRole, FeatureFlag, Member, ReconciliationRun, Team
from council.postgres.fields import EnumField, TimestampField, cuid

pytestmark = pytest.mark.django_db


def stored(table: str, column: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT "{column}"::text FROM "{table}"')
        (value,) = cursor.fetchone()
        return value


def test_an_id_has_the_format_of_prisma() -> None:
    ids = [cuid() for _ in range(10_000)]

    assert len(set(ids)) == 10_000
    assert all(re.fullmatch("c[0-9a-z]{24}", id_) for id_ in ids)
    assert ids[0][:6] <= ids[-1][:6]


def test_two_processes_make_different_ids() -> None:
    program = "from council.postgres.fields import cuid; print(*(cuid() for _ in range(500)))"
    processes = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for _ in range(2)]

    ids = [line for process in processes for line in process.communicate()[0].split()]

    assert len(set(ids)) == 1000


def test_a_row_gets_the_gateway_s_defaults() -> None:
    member = Member.objects.create()

    member.refresh_from_db()
    assert member.subscription_status == "NONE"
    assert member.sent_billing_notifications == []
    assert abs(member.created_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert (member.total_points, member.current_streak, member.last_active_at) == (0, 0, None)
    assert ReconciliationRun.objects.create(triggered_by="cron").issues == []
    assert FeatureFlag.objects.create(key="v2").category == "general"


def test_a_time_is_stored_as_utc_in_milliseconds_and_read_as_aware() -> None:
    moment = datetime(2026, 3, 1, 0, 30, 15, 123_500, tzinfo=ZoneInfo("Europe/Berlin"))

    team = Team.objects.create(name="Acme", stripe_customer_id="cus", payment_failed_at=moment)

    assert stored("Team", "paymentFailedAt") == "2026-02-28 23:30:15.124"
    team.refresh_from_db()
    assert team.payment_failed_at == datetime(2026, 2, 28, 23, 30, 15, 124_000, tzinfo=UTC)
    assert Team.objects.get(payment_failed_at=moment) == team


@pytest.mark.parametrize(
    ("microsecond", "text"),
    [(499, "59"), (500, "59.001"), (999_499, "59.999"), (999_500, "00")],
)
def test_a_time_is_rounded_like_in_postgresql(microsecond: int, text: str) -> None:
    moment = datetime(2026, 1, 1, 12, 0, 59, microsecond, tzinfo=UTC)
    Team.objects.create(name="Acme", stripe_customer_id="cus", payment_failed_at=moment)

    assert str(stored("Team", "paymentFailedAt")).endswith(f":{text}")


def test_the_latest_possible_time_can_be_used_in_a_comparison() -> None:
    team = Team.objects.create(name="Acme", stripe_customer_id="cus", payment_failed_at=datetime.now(UTC))
    assert Team.objects.get(payment_failed_at__lt=datetime.max.replace(tzinfo=UTC)) == team


def test_days_and_hours_are_those_of_the_given_zone() -> None:
    Team.objects.create(
        name="Acme", stripe_customer_id="cus", payment_failed_at=datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    )
    teams = Team.objects.all()

    assert teams.filter(payment_failed_at__date="2026-03-01", payment_failed_at__hour=23).exists()
    with django_timezone.override("Asia/Tokyo"):
        assert teams.filter(payment_failed_at__date="2026-03-02", payment_failed_at__hour=8).exists()
        day = teams.values_list(TruncDay("payment_failed_at"), flat=True).get()
        assert day == datetime(2026, 3, 2, tzinfo=ZoneInfo("Asia/Tokyo"))
    with django_timezone.override(timezone(timedelta(hours=-5, minutes=-30))):
        assert teams.filter(payment_failed_at__hour=18, payment_failed_at__minute=0).exists()


def test_columns_with_a_time_zone_are_read_as_before() -> None:
    Account.objects.create_user("sam")
    Account.objects.update(last_login=datetime(2026, 3, 1, 23, 30, tzinfo=UTC))

    with django_timezone.override("Asia/Tokyo"):
        assert Account.objects.filter(last_login__date="2026-03-02", last_login__hour=8).exists()


def test_now_can_be_compared_with_a_column_that_holds_utc() -> None:
    Team.objects.create(
        name="Acme", stripe_customer_id="cus", payment_failed_at=django_timezone.now() - timedelta(minutes=1)
    )

    assert Team.objects.filter(payment_failed_at__lt=Now()).exists()
    assert not Team.objects.filter(payment_failed_at__lt=Now() - timedelta(minutes=2)).exists()


def test_a_session_that_is_not_in_utc_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    field = Team._meta.get_field("payment_failed_at")
    assert field.check(databases=None) == []
    with connection.cursor() as cursor:
        cursor.execute("SHOW TimeZone")
        assert cursor.fetchone() == ("UTC",)

    monkeypatch.setattr(connection, "timezone_name", "Europe/Berlin")

    (error,) = field.check(databases=None)
    assert error.id == "council.E002"
    assert error.msg == (
        "The column holds UTC, but the sessions of the database 'default' are in Europe/Berlin: lookups by date "
        "would be hours off."
    )


def test_a_value_without_a_label_is_refused_in_python() -> None:
    with pytest.raises(
        ValueError, match="'GOLD' is not a label of SubscriptionStatus. Use one of NONE, TRIALING"
    ):
        Member.objects.filter(subscription_status="GOLD").exists()
    with pytest.raises(
        ValueError, match="'BOSS' is not a label of AdminRole. Use one of ADMIN, SUPER_ADMIN."
    ):
        Admin.objects.create(email="sam@example.com", password_hash="-", role="BOSS")


def test_labels_can_be_searched_like_text() -> None:
    member = Member.objects.create(subscription_status="PAST_DUE", seat_tier="OWNER")

    assert (
        Member.objects.get(subscription_status__in=["PAST_DUE", "NONE"], seat_tier__icontains="own") == member
    )


def test_migrations_do_not_contain_labels() -> None:
    field = EnumField(enum="AdminRole", choices=AdminRole, name="role")

    _, path, _, kwargs = field.deconstruct()

    assert path == "council.postgres.fields.EnumField"
    assert kwargs == {"enum": "AdminRole"}
    assert EnumField(**kwargs).db_type(connection) == '"AdminRole"'


def test_cuids_and_keys_that_refer_to_them_get_no_index_for_like() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_indexes WHERE indexname LIKE '%\\_like' ORDER BY 1")
        tables = [table for (table,) in cursor.fetchall()]

    # Of our tables, only the unique username, and keys that are not cuids.
    assert tables == [
        "FigureTable",
        "PointRule",
        "auth_group",
        "council_account",
        "council_accountsession",
        "council_signinfailures",
        "django_session",
        "otp_static_statictoken",
    ]


def test_a_naive_time_is_taken_as_utc() -> None:
    class Probe(models.Model):
        at = TimestampField()

        class Meta:
            app_label = "probe"

    with pytest.warns(RuntimeWarning, match="naive datetime"):
        value = Probe._meta.get_field("at").get_db_prep_value(datetime(2026, 1, 1), connection, False)  # noqa: DTZ001
    assert value == datetime(2026, 1, 1)  # noqa: DTZ001
