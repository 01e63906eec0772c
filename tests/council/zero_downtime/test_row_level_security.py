"""Tables of other apps are closed to the data API if there is one, and otherwise unchanged."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.council.zero_downtime.test_deploy import V1_SQL, Deploy, deploy, open_transaction
from tests.databases import Database, server_of_its_own

__all__ = ["deploy"]

OPEN = """
    SELECT relname FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relrowsecurity
       AND relname ~ '^(auth|council|django|otp)_'
     ORDER BY relname
"""
SHUT_AFTER = [
    "auth_group",
    "auth_group_permissions",
    "auth_permission",
    "council_account_groups",
    "council_account_user_permissions",
    "django_admin_log",
    "django_content_type",
    "django_migrations",
    "django_session",
    "otp_static_staticdevice",
    "otp_static_statictoken",
    "otp_totp_totpdevice",
]


# The findings of Supabase's linter at the levels ERROR and WARN that could concern us: tables that the data API reads
# without row level security, functions and views with another role's search_path or rights, duplicate indexes, and
# extensions in the exposed schema.
LINTED = """
    SELECT 'open table', relname
      FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND NOT relrowsecurity
       AND (has_table_privilege('anon', oid, 'SELECT') OR has_table_privilege('authenticated', oid, 'SELECT'))
    UNION ALL
    SELECT 'search_path', proname
      FROM pg_proc
     WHERE pronamespace = 'public'::regnamespace AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=""']
    UNION ALL
    SELECT 'rights of another', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prosecdef
    UNION ALL
    SELECT 'view', relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm', 'f')
    UNION ALL
    SELECT 'index twice', min(indexname)
      FROM pg_indexes
     WHERE schemaname = 'public'
     GROUP BY tablename, replace(indexdef, indexname, '')
    HAVING count(*) > 1
    UNION ALL
    SELECT 'extension', extname FROM pg_extension WHERE extnamespace = 'public'::regnamespace AND extname <> 'plpgsql'
    UNION ALL
    SELECT 'policy', polname FROM pg_policy
    UNION ALL
    SELECT 'shown by GraphQL', relname
      FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
       AND (has_table_privilege('anon', oid, 'SELECT') OR has_table_privilege('authenticated', oid, 'SELECT'))
"""
# As in a new project at Supabase.
GRANTED = """
    GRANT USAGE ON SCHEMA public TO anon, authenticated;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;
    ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON FUNCTIONS TO anon, authenticated
"""
GATEWAYS = {
    "Admin",
    "AuditLog",
    "EmailTemplate",
    "FeatureFlag",
    "Member",
    "ReconciliationRun",
    "StripeEvent",
    "Team",
}


@pytest.fixture
def supabase() -> Iterator[Database]:
    """The gateway's database on a server with the data API's roles. No other test must see them."""
    with server_of_its_own() as (_, database):
        database.execute(V1_SQL + "CREATE ROLE anon; CREATE ROLE authenticated")
        yield database


def test_without_a_data_api_tables_of_other_apps_are_not_changed(migrated: Database) -> None:
    assert [table for (table,) in migrated.fetch(OPEN)] == SHUT_AFTER


def test_with_a_data_api_tables_of_other_apps_are_closed_except_by_a_setting(
    supabase: Database, deploy: Callable[..., Deploy]
) -> None:
    refused = supabase.manage("write_manifest", "--file", "/dev/null", check=False)
    assert "This server has data API roles (anon, authenticated)" in refused.stderr

    planned = supabase.manage("migrate", "--plan", check=False).stdout
    assert f"After the migrations\n  Enable row level security on {', '.join(SHUT_AFTER)}\n" in planned

    supabase.execute(GRANTED)
    supabase.manage("migrate")

    assert supabase.fetch(OPEN) == []
    found = supabase.fetch(LINTED)
    assert {kind for kind, _ in found} == {"open table", "shown by GraphQL"}
    assert {name for kind, name in found if kind == "open table"} >= GATEWAYS
    supabase.manage("close_data_api", "--apply")
    assert supabase.fetch(LINTED) == []
    assert supabase.manage("verify_schema").returncode == 0

    supabase.execute("ALTER TABLE django_session DISABLE ROW LEVEL SECURITY; DROP TABLE django_admin_log")
    verified = supabase.manage("verify_schema", check=False).stdout
    assert "django_session is off, expected on" in verified
    planned = supabase.manage("migrate", "--plan", "--format", "json", check=False).stdout
    assert json.loads(planned)["row_level_security"] == ["django_session"]

    with open_transaction(supabase, "SELECT * FROM django_session"):
        assert deploy(supabase, "--patience", "300ms").finish() == 1
        excepting = {"DJANGO_SETTINGS_MODULE": "tests.settings_that_except"}
        run = deploy(supabase, **excepting)
        assert run.finish() == 0, run.output
        run = deploy(supabase)
        run.wait_for("waiting, .*django_session")
    assert run.finish() == 0, run.output
    assert supabase.fetch(OPEN) == []
