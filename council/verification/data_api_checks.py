"""Checks of what Supabase's data API shows to everybody on the internet who has the site's public key.

The API runs requests as the role `anon` or `authenticated`, with that role's rights in the exposed schema.
A server without such roles has no data API.
"""

from collections.abc import Iterator

from council.postgres import facts
from council.verification import cures, manifest
from council.verification.checks import Finding, failed, note, register, warning
from council.verification.database import Database
from council.zero_downtime import row_level_security

ROLES = list(row_level_security.DATA_API_ROLES)
NO_ROLES = "no data API: neither the role anon nor authenticated exists"

EXISTING = "SELECT rolname FROM pg_roles WHERE rolname = ANY(%(roles)s) ORDER BY 1"
# A right on a single column counts. DELETE cannot be granted on columns.
OPEN_TABLES = """
    SELECT c.relname, string_agg(DISTINCT r.rolname, ', '), string_agg(DISTINCT wanted, ', ')
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_roles r ON r.rolname = ANY(%(roles)s) AND has_schema_privilege(r.oid, n.oid, 'USAGE')
      CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS wanted
     WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND c.relkind IN ('r', 'p')
       AND (NOT c.relrowsecurity OR r.rolbypassrls OR r.rolsuper OR pg_has_role(r.oid, c.relowner, 'USAGE'))
       AND CASE wanted WHEN 'DELETE' THEN has_table_privilege(r.oid, c.oid, wanted)
                ELSE has_any_column_privilege(r.oid, c.oid, wanted) END
     GROUP BY c.relname
     ORDER BY 1
"""


def existing_roles(database: Database) -> list[str]:
    return [row[0] for row in database.rows(EXISTING, roles=ROLES)]


@register("data API: tables")
def open_tables(database: Database) -> Iterator[Finding]:
    """Check that our tables are closed to the API. For the gateway's tables, only warn: its owners decide."""
    roles = existing_roles(database)
    if not roles:
        yield note(NO_ROLES)
        return
    gateways = []
    for table, who, what in database.rows(OPEN_TABLES, roles=roles):
        if table in manifest.gateway_tables():
            gateways.append((table, who, what))
        else:
            yield failed(
                f"{table} is open to {who}: {what}",
                f"{cures.NOT_IN_THE_QUEUE}ALTER TABLE {cures.quote(table)} ENABLE ROW LEVEL SECURITY; "
                f"REVOKE ALL ON {cures.quote(table)} FROM PUBLIC, {who};",
            )
    if gateways:
        names = ", ".join(cures.quote(table) for table, _, _ in gateways)
        yield warning(
            "among the gateway's tables, "
            + "; ".join(f"{table} is open to {who} ({what})" for table, who, what in gateways),
            f"REVOKE ALL ON {names} FROM PUBLIC, {', '.join(roles)};",
        )
    yield note(f"our tables are closed to {', '.join(roles)}")
    if database.rows(EXISTING, roles=["service_role"]):
        yield note("service_role is meant to read and write everything: keep its key on servers")


POLICIES = """
    SELECT c.relname, p.polname, c.relrowsecurity,
           CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                ELSE 'ALL' END,
           string_agg(DISTINCT r.rolname, ', '),
           coalesce(pg_get_expr(p.polqual, p.polrelid), 'true'),
           coalesce(pg_get_expr(p.polwithcheck, p.polrelid), pg_get_expr(p.polqual, p.polrelid), 'true')
      FROM pg_policy p
      JOIN pg_class c ON c.oid = p.polrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_roles r ON r.rolname = ANY(%(roles)s)
           AND EXISTS (SELECT FROM unnest(p.polroles) AS given WHERE given = 0 OR pg_has_role(r.oid, given, 'USAGE'))
     WHERE n.nspname = %(schema)s AND c.relname = ANY(%(tables)s) AND p.polpermissive
     GROUP BY c.relname, p.oid, p.polname, c.relrowsecurity, p.polcmd, p.polqual, p.polwithcheck, p.polrelid
     ORDER BY 1, 2
"""


@register("data API: policies")
def policies(database: Database) -> Iterator[Finding]:
    """Check that no policy opens our tables to the API. Warn of one that opens all rows of a gateway's table."""
    roles = existing_roles(database)
    if not roles:
        yield note(NO_ROLES)
        return
    others = []
    for table, policy, _, command, who, using, check in database.rows(POLICIES, roles=roles):
        drop = f"{cures.NOT_IN_THE_QUEUE}DROP POLICY {cures.quote(policy)} ON {cures.quote(table)};"
        message = (
            f"{policy!r} opens {table} to {who}: {command} where {check if command == 'INSERT' else using}"
        )
        if table not in manifest.gateway_tables():
            yield failed(message, drop)
        elif "true" in {using, check}:
            yield warning(message, drop)
        else:
            others.append(f"{policy!r} on {table}")
    yield note(
        "none opens a table"
        + (f"; for some rows of the gateway's tables: {', '.join(others)}" if others else "")
    )


# A view reads with its owner's rights and so bypasses row level security, unless it is a security_invoker view.
VIEWS = """
    SELECT v.relname, v.relkind, string_agg(DISTINCT r.rolname, ', '), string_agg(DISTINCT t.relname, ', ')
      FROM pg_rewrite w
      JOIN pg_class v ON v.oid = w.ev_class AND v.relkind IN ('v', 'm')
      JOIN pg_namespace n ON n.oid = v.relnamespace
      JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
           AND d.refclassid = 'pg_class'::regclass
      JOIN pg_class t ON t.oid = d.refobjid AND t.relnamespace = v.relnamespace AND t.relname = ANY(%(tables)s)
      JOIN pg_roles r ON r.rolname = ANY(%(roles)s) AND has_any_column_privilege(r.oid, v.oid, 'SELECT')
           AND has_schema_privilege(r.oid, n.oid, 'USAGE')
     WHERE n.nspname = %(schema)s
       AND NOT EXISTS (SELECT FROM pg_options_to_table(v.reloptions)
                        WHERE option_name = 'security_invoker' AND option_value::boolean)
     GROUP BY v.relname, v.relkind
     ORDER BY 1
"""


@register("data API: views")
def views(database: Database) -> Iterator[Finding]:
    """Check that no view shows our tables or the gateway's to the API despite their row level security."""
    roles = existing_roles(database)
    if not roles:
        yield note(NO_ROLES)
        return
    for view, kind, who, shown in database.rows(VIEWS, roles=roles):
        name = cures.quote(view)
        safe = f"\n-- or: ALTER VIEW {name} SET (security_invoker = true);" if kind == "v" else ""
        yield failed(
            f"{view} shows {shown} to {who} with its owner's rights",
            f"REVOKE ALL ON {name} FROM PUBLIC, {who};{safe}",
        )
    yield note("none shows a table with its owner's rights")


FUNCTIONS = """
    SELECT format('%%I.%%I(%%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
           p.proname = ANY(%(functions)s),
           string_agg(DISTINCT r.rolname, ', ')
      FROM pg_proc p
      JOIN pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_roles r ON r.rolname = ANY(%(roles)s) AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
           AND has_schema_privilege(r.oid, n.oid, 'USAGE')
     WHERE n.nspname = %(schema)s AND p.prosecdef AND p.prorettype <> 'trigger'::regtype
     GROUP BY n.nspname, p.proname, p.oid
     ORDER BY 1
"""


@register("data API: functions")
def functions(database: Database) -> Iterator[Finding]:
    """Check that the API cannot run functions of the schema with their owner's rights (SECURITY DEFINER)."""
    roles = existing_roles(database)
    if not roles:
        yield note(NO_ROLES)
        return
    ours = [name.partition("(")[0] for name in facts.names("function", database.expected)]
    for function, is_ours, who in database.rows(FUNCTIONS, roles=roles, functions=ours):
        yield (failed if is_ours else warning)(
            f"{function} runs for {who} with its owner's rights",
            f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC, {who};",
        )
    yield note("none runs with its owner's rights")
