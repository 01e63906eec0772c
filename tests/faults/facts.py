"""The content of a database after migrate, as lines that can be compared."""

from pathlib import Path

from tests.databases import Database, catalog_query

V1 = (Path(__file__).parent.parent / "schema" / "v1.sql").read_text()
ROWS = """
INSERT INTO "Team" (id, name, "stripeCustomerId", "updatedAt")
SELECT 't' || n, 'Team ' || n, 'cus_t' || n, now() FROM generate_series(1, 10) AS n;
INSERT INTO "Member" (id, email, "teamId", "subscriptionStatus", "updatedAt")
SELECT 'm' || n, 'm' || n || '@example.com', 't' || 1 + n % 10, 'ACTIVE', now() FROM generate_series(1, 300) AS n;
INSERT INTO "Admin" (id, email, "passwordHash", "updatedAt") VALUES ('a1', 'sam@example.com', '$argon2id$', now());
INSERT INTO "PendingInvite" (id, "teamId", "seatTier", token, "createdBy")
VALUES ('p1', 't1', 'TEAM_MEMBER', 'secret', 'm2');
INSERT INTO "AuditLog" (id, action, "entityType", "entityId") VALUES ('l1', 'login', 'Member', 'm1');
"""
# Facts that the contract's query leaves out. Names instead of ids, because a killed run uses up numbers of sequences.
MORE_FACTS = """
SELECT concat_ws('|', 'MIGRATION', app, name, count(*)) FROM public.django_migrations GROUP BY app, name
 UNION ALL
SELECT concat_ws('|', 'PERMISSION', c.app_label, c.model, p.codename, p.name)
  FROM public.django_content_type c LEFT JOIN public.auth_permission p ON p.content_type_id = c.id
 UNION ALL
SELECT concat_ws('|', 'RELATION', relname, relkind, relowner::regrole, relacl)
  FROM pg_class WHERE relnamespace = 'public'::regnamespace
 UNION ALL
SELECT concat_ws('|', 'TRIGGERCOMMENT', tgname, obj_description(oid, 'pg_trigger'))
  FROM pg_trigger WHERE NOT tgisinternal
 UNION ALL
SELECT concat_ws('|', 'SCHEMA', nspname) FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast_temp)_'
 UNION ALL
SELECT concat_ws('|', 'SETTINGS', setrole::regrole, setconfig) FROM pg_db_role_setting
  JOIN pg_database d ON d.oid = setdatabase AND datname = current_database()
"""
COLUMNS = """
SELECT relname, array_agg(attname::text)
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0
 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attname <> 'jobTitle'
   AND NOT (relname = 'Member' AND attname = 'updatedAt')
 GROUP BY relname
"""
# `Member.updatedAt` is left out, because it changes with the points that the writer adds.
# The gateway's rows, without those of tests.faults.writer.
ROWS_OF = """
SELECT concat_ws('|', 'ROWS', %(table)s::text, count(*), md5(string_agg(line, E'\\n' ORDER BY line)))
  FROM (SELECT (SELECT string_agg(key || '=' || value, '|' ORDER BY key)
                  FROM jsonb_each_text(to_jsonb(t)) WHERE key = ANY(%(columns)s)) AS line
          FROM {table} t WHERE to_jsonb(t) ->> 'id' !~ '^written') AS lines
"""


def columns(v1: Database) -> dict[str, list[str]]:
    """List the gateway's columns by table."""
    return {str(table): list(names) for table, names in v1.fetch(COLUMNS)}  # type: ignore[call-overload]


def facts(database: Database, gateways: dict[str, list[str]]) -> set[str]:
    """Describe the schema including the order of columns, the record of migrations, and the gateway's rows."""
    with database.connect() as session:
        session.execute("SET search_path TO pg_catalog")
        found = {row[0] for row in session.execute(catalog_query(scope="all", ordinals="on"))}
        found |= {row[0] for row in session.execute(MORE_FACTS.encode())}
        for table, names in gateways.items():
            query = ROWS_OF.format(table=f'public."{table}"').encode()
            found |= {row[0] for row in session.execute(query, {"table": table, "columns": names})}
        return found
