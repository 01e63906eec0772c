"""Checks of the server, its settings, and the rights of the application's role."""

from collections.abc import Iterator

from django.conf import settings as django_settings

from council.postgres import units
from council.verification import cures
from council.verification.checks import Finding, failed, note, register, warning
from council.verification.database import Database

VERSIONS = range(15, 19)
# The longest time that a statement of our migrations needs, except those that migrate runs without a limit.
STATEMENT_SECONDS = 10.0
LOCK_SECONDS = 1.0


@register("server")
def server(database: Database) -> Iterator[Finding]:
    """Check that the project is tested on the server's version."""
    major, minor = database.connection.get_database_version()
    if major in VERSIONS:
        yield note(f"PostgreSQL {major}.{minor}")
    elif major < VERSIONS.start:
        yield failed(f"PostgreSQL {major}.{minor}, expected 15 to 18", "upgrade the server")
    else:
        yield warning(f"PostgreSQL {major}.{minor}, tested on 15 to 18", "run the tests on it")


@register("writes")
def writes(database: Database) -> Iterator[Finding]:
    [(in_recovery, read_only)] = database.rows(
        "SELECT pg_is_in_recovery(), reset_val = 'on' FROM pg_settings"
        " WHERE name = 'default_transaction_read_only'"
    )
    if in_recovery:
        yield warning(
            "the server is a replica, which accepts none", "verify the primary: set DATABASE_URL to it"
        )
    elif read_only:
        [(name, role)] = database.rows("SELECT current_database(), session_user")
        yield failed(
            "default_transaction_read_only is on, expected off",
            f"ALTER DATABASE {cures.quote(name)} RESET default_transaction_read_only; "
            f"ALTER ROLE {cures.quote(role)} RESET default_transaction_read_only;",
        )
    else:
        yield note("accepted")


# Settings stored for this database, for roles, or for both; including roles that never connect to it.
KEPT = """
    SELECT CASE WHEN s.setrole = 0 AND s.setdatabase <> 0 THEN 'ALTER DATABASE ' || quote_ident(d.datname)
                ELSE 'ALTER ROLE ' || CASE s.setrole WHEN 0 THEN 'ALL' ELSE quote_ident(r.rolname) END
                     || coalesce(' IN DATABASE ' || quote_ident(d.datname), '') END,
           split_part(given, '=', 1), substr(given, strpos(given, '=') + 1)
      FROM pg_db_role_setting s
      CROSS JOIN unnest(s.setconfig) AS given
      LEFT JOIN pg_roles r ON r.oid = s.setrole
      LEFT JOIN pg_database d ON d.oid = s.setdatabase
     WHERE (s.setdatabase = 0 OR d.datname = current_database())
       AND (%(roles)s::text[] IS NULL OR s.setrole = 0 OR r.rolname = ANY(%(roles)s))
     ORDER BY 1, 2
"""
# The zone equals UTC in winter and in summer, whatever its name.
IS_UTC = """
    SELECT bool_and(moment AT TIME ZONE %(zone)s = moment AT TIME ZONE 'UTC')
      FROM unnest(ARRAY['2026-01-15 12:00+00', '2026-07-15 12:00+00']::timestamptz[]) AS moment
"""


def kept_settings(database: Database, name: str, *, roles: list[str] | None = None) -> list[tuple[str, str]]:
    """List where a setting is stored: the beginning of the ALTER statement that changes it, and its value."""
    return [
        (where, value)
        for where, key, value in database.rows(KEPT, roles=roles)
        if key.lower() == name.lower()
    ]


@register("time zone")
def time_zone(database: Database) -> Iterator[Finding]:
    """Check that every session starts in UTC: columns without time zone hold UTC, also those filled by defaults."""
    zones = kept_settings(database, "TimeZone")
    default = database.settings("TimeZone")["TimeZone"]
    if default not in {zone for _, zone in zones}:
        name = database.rows("SELECT quote_ident(current_database())")[0][0]
        zones.append((f"ALTER DATABASE {name}", default))
    for where, zone in zones:
        if database.rows(IS_UTC, zone=zone) != [(True,)]:
            yield failed(
                f"sessions begin in {zone} ({where.removeprefix('ALTER ')}), expected UTC: times that column "
                f"defaults fill in would be hours off",
                f"{where} SET timezone TO 'UTC';",
            )
    yield note(f"UTC, in all {len(zones)} places where it is set" if len(zones) > 1 else "UTC")


ELSEWHERE = """
    SELECT n.nspname, n.nspname = ANY(current_schemas(false))
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relname = 'Member' AND c.relkind IN ('r', 'p') AND n.nspname <> %(schema)s
     ORDER BY 1
"""


@register("search_path")
def search_path(database: Database) -> Iterator[Finding]:
    """Check that it finds our tables, and no others with the same names."""
    schemas = database.rows(ELSEWHERE)
    others = ", ".join(cures.quote(schema) for schema, _ in schemas)
    on_path = ", ".join(schema for schema, is_on_path in schemas if is_on_path)
    [(path, role)] = database.rows("SELECT current_setting('search_path'), session_user")
    if others and not database.definitions("table"):
        yield failed(
            f"{path}: its first schema is {database.schema}, but the tables are in {others}",
            f"ALTER ROLE {cures.quote(role)} SET search_path TO {others};",
        )
    elif on_path:
        yield warning(
            f"{path}: the schema is {database.schema}; {on_path} has tables of the same names",
            "drop or rename those that nobody uses",
        )
    yield note(f"{path}: the schema is {database.schema}")


@register("time limits")
def time_limits(database: Database) -> Iterator[Finding]:
    """Check that no limit cancels a migration's statements. Migrate sets its own limits for locks and idle time."""
    [(role,)] = database.rows("SELECT session_user")
    direct = django_settings.DIRECT_DATABASE or {}
    roles = sorted(
        {role, str(direct.get("USER") or role).partition(".")[0]}
    )  # Supabase's pooler expects role.project
    for name, least in {"statement_timeout": STATEMENT_SECONDS, "lock_timeout": LOCK_SECONDS}.items():
        limits = kept_settings(database, name, roles=roles)
        if not limits:
            limits = [(f"ALTER ROLE {cures.quote(role)}", f"{database.settings(name)[name]}ms")]
        for where, value in limits:
            seconds = units.seconds(value, default_unit="ms")
            if 0 < seconds < least:
                yield warning(
                    f"{name} is {units.duration(seconds)} ({where.removeprefix('ALTER ')}), expected none, or "
                    f"{units.duration(least)} at least: longer statements of migrations and of the gateway are "
                    "cancelled",
                    f"{where} SET {name} TO '{least:.0f}s';",
                )
    yield note(f"none too short for {', '.join(roles)}")


# If row_security_active is true, the role sees no rows, because there is no policy.
RIGHTS = """
    SELECT c.relname,
           array_to_string(ARRAY(
               SELECT wanted FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted
                WHERE NOT has_table_privilege(c.oid, wanted)), ', '),
           c.relrowsecurity AND row_security_active(c.oid),
           pg_get_userbyid(c.relowner)
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND c.relkind IN ('r', 'p')
     ORDER BY 1
"""
FUNCTION_RIGHTS = """
    SELECT format('%%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid))
      FROM pg_proc p
      JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname = %(schema)s AND p.proname = ANY(%(functions)s) AND p.prorettype <> 'trigger'::regtype
       AND NOT has_function_privilege(p.oid, 'EXECUTE')
     ORDER BY 1
"""


@register("rights")
def rights(database: Database) -> Iterator[Finding]:
    """Check that the application's role can read and write all tables, and that no rows are hidden from it."""
    [(role,)] = database.rows("SELECT current_user")
    to = cures.quote(role)
    tables = database.rows(RIGHTS)
    for table, missing, is_hidden, owner in tables:
        if missing:
            yield failed(
                f"{role} has no right to {missing} on {table}",
                f"GRANT {missing} ON {cures.quote(table)} TO {to};",
            )
        if is_hidden:
            yield failed(
                f"row level security hides the rows of {table} from {role}, which is not its owner ({owner})",
                f"ALTER ROLE {to} BYPASSRLS;\n-- or, with all rights of the owner: GRANT {cures.quote(owner)} TO {to};",
            )
    functions = sorted(fact.name.partition("(")[0] for fact in database.expected if fact.kind == "function")
    for (function,) in database.rows(FUNCTION_RIGHTS, functions=functions):
        yield failed(
            f"{role} may not run {function}, which triggers call",
            f"GRANT EXECUTE ON FUNCTION {function} TO {to};",
        )
    yield note(f"{role} reads and writes {len(tables)} tables")
