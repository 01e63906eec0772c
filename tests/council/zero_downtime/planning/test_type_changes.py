"""Predicted changes of a column's type, compared with PostgreSQL for each pair of common types."""

import itertools

import pytest

from council.zero_downtime.planning import type_changes
from tests.databases import Database

pytestmark = pytest.mark.django_db

FAMILIES = [
    "varchar(10), varchar(20), varchar, text, char(5), char(9), bpchar, xml, citext, any_text, short_text, colour",
    "numeric(10,2), numeric(12,2), numeric(12,4), numeric(10), numeric, integer, bigint, oid, float8",
    "timestamp(3), timestamp(6), timestamp, timestamptz(3), timestamptz(6), timestamptz, date, text",
    "time(3), time(6), time, timetz(3), timetz, interval",
    "interval(3), interval(6), interval, interval day to second, interval day to second(3), interval year to month, "
    "interval hour",
    "bit(4), bit(8), bit varying(4), bit varying(8), bit varying",
    "json, jsonb, text, uuid, inet, cidr, bytea, boolean, integer",
    "varchar(10)[], varchar(20)[], varchar[], text[], integer[], numeric(10,2)[], numeric[], inet[], cidr[], text",
]
ATTEMPT = """
    CREATE TYPE colour AS ENUM ('RED');
    CREATE DOMAIN any_text AS text;
    CREATE DOMAIN short_text AS text CHECK (length(VALUE) < 9);
    CREATE SEQUENCE checked;

    CREATE FUNCTION nodes(OUT found jsonb) LANGUAGE sql AS $$
        SELECT jsonb_object_agg(relname, pg_relation_filenode(oid)) FROM pg_class
         WHERE relname IN ('t', 'plain', 'included', 'pattern', 'computed', 'partial')
    $$;

    -- Tells which of the things that a table can have stay, where the rows do; NULL where there is no such cast.
    CREATE FUNCTION attempt(before text, after text) RETURNS text[] LANGUAGE plpgsql AS $$
    DECLARE
        change CONSTANT text := format('ALTER TABLE t ALTER c TYPE %s USING c::%s', after, after);
        was jsonb;
        anew text[];
    BEGIN
        EXECUTE format('SELECT NULL::%s::%s', before, after);
        EXECUTE format('CREATE TABLE t (n int, c %s)', before);
        INSERT INTO t VALUES (1, NULL);
        was := nodes();
        EXECUTE change;
        IF was <> nodes() THEN
            RAISE EXCEPTION SQLSTATE 'TOLD0' USING MESSAGE = '{t}';
        ELSIF (SELECT seq_scan > 0 FROM pg_stat_xact_user_tables WHERE relname = 't') THEN
            RAISE EXCEPTION SQLSTATE 'TOLD0' USING MESSAGE = '{scan}';
        END IF;
        DROP TABLE t;
        EXECUTE format('CREATE TABLE t (n int, c %s)', before);
        INSERT INTO t VALUES (1, NULL);
        IF EXISTS (SELECT FROM pg_opclass o WHERE opcdefault AND opcmethod = 403 AND opcintype = to_regtype(after)
                   OR to_regtype(after)::text ~ '^(character varying|interval)|\\[\\]$') AND before <> 'xml' THEN
            CREATE INDEX plain ON t (c);
        END IF;
        CREATE INDEX included ON t (n) INCLUDE (c);
        IF before || after ~ '^(varchar(\\(..\\))?|text)+$' THEN
            CREATE INDEX pattern ON t (c text_pattern_ops);
        END IF;
        CREATE INDEX computed ON t ((c IS NULL));
        CREATE INDEX partial ON t (n) WHERE c IS NOT NULL;
        ALTER TABLE t ADD CHECK (nextval('checked') > 0 OR c IS NULL);
        ALTER TABLE t ADD CHECK (nextval('checked') > 0 OR c IS NULL) NOT VALID;
        was := nodes();
        PERFORM setval('checked', 1);
        EXECUTE change;
        anew := ARRAY(SELECT key FROM jsonb_each(nodes()) WHERE value <> was->key ORDER BY key);
        RAISE EXCEPTION SQLSTATE 'TOLD0' USING MESSAGE = anew || ('checks ' || (SELECT last_value - 1 FROM checked));
    EXCEPTION
        WHEN SQLSTATE 'TOLD0' THEN RETURN SQLERRM;
        WHEN cannot_coerce OR undefined_object THEN RETURN NULL;
    END $$;
"""
# For each type, the largest or longest value that it accepts.
EXTREMES = {
    "smallint": "32767",
    "integer": "2147483647",
    "bigint": "9223372036854775807",
    "numeric(10,2)": "99999999.99",
    "numeric(10)": "9999999999",
    "numeric(12,2)": "9999999999.99",
    "numeric(12,4)": "99999999.9999",
    "numeric(19)": "9999999999999999999",
    "numeric": "1e30",
    "real": "0.1",
    "float8": "0.1",
    "varchar(10)": f"'{'x' * 10}'",
    "varchar(20)": f"'{'x' * 20}'",
    "varchar": f"'{'x' * 30}'",
    "char(5)": "'xxxxx'",
    "text": f"'{'x' * 30}'",
    "date": "'9999-12-31'",
    "timestamp": "'2026-11-30 12:34:56.789012'",
    "timestamp(3)": "'2026-11-30 12:34:56.789'",
    "timestamptz": "'2026-11-30 12:34:56.789012+02'",
    "boolean": "true",
    "uuid": "'00000000-0000-0000-0000-000000000000'",
    "jsonb": "'{}'",
    "cidr": "'10.0.0.0/8'",
    "inet": "'10.0.0.1/8'",
    "varchar(10)[]": "'{xxxxxxxxxx}'",
    "varchar(20)[]": f"'{{{'x' * 20}}}'",
}
CITEXT = "SELECT FROM pg_available_extensions WHERE name = 'citext'"


def test_each_change_of_a_type_is_predicted_like_postgresql_does_it(database: Database) -> None:
    database.execute(ATTEMPT)
    if database.fetch(CITEXT):
        database.execute("CREATE EXTENSION citext")
    pairs = sorted({pair for family in FAMILIES for pair in itertools.permutations(family.split(", "), 2)})
    faults, kept = [], 0
    with database.connect() as session:
        session.execute("SET timezone TO 'UTC'")
        for before, after in pairs:
            [(anew,)] = session.execute("SELECT attempt(%s, %s)", [before, after]).fetchall()
            predicted = told(before, after)
            kept += bool(anew) and anew[0] not in "t"
            is_of_a_domain = {before, after} & {"any_text", "short_text"}
            if anew is not None and anew != predicted and not (is_of_a_domain and predicted == ["t"]):
                faults.append(
                    f"{before} to {after}: PostgreSQL makes anew {anew}, and predicted was {predicted}"
                )
    assert not faults, "\n".join(faults)
    assert kept > 60


def test_a_type_that_accepts_all_values_stores_and_finds_them(database: Database) -> None:
    taken = 0
    with database.connect() as session:
        for (before, value), after in itertools.product(EXTREMES.items(), EXTREMES):
            if type_changes.takes_all_values(before, after):
                session.execute(f"CREATE TEMPORARY TABLE t (c {after})")
                session.execute(f"INSERT INTO t VALUES ({value}::{before})")
                found = session.execute(f"SELECT FROM t WHERE c = {value}::{before}").fetchall()
                assert len(found) == 1, (before, after)
                session.execute("DROP TABLE t")
                taken += before != after
    assert taken == 47
    assert not type_changes.takes_all_values("varchar(20)", "varchar(10)")
    assert not type_changes.takes_all_values("integer", "numeric(10,2)")


def told(before: str, after: str) -> list[str]:
    if not type_changes.keeps_rows(before, after, is_utc=True):
        return ["t"]
    is_compared = before != "xml" and not type_changes.keeps_indexes(before, after)
    return ["computed", "partial", *["plain"] * is_compared, "checks 1"]


@pytest.mark.any_server
@pytest.mark.parametrize(("before", "after"), [("timestamp", "timestamptz"), ("timestamptz", "timestamp(6)")])
def test_a_moment_keeps_its_rows_only_in_utc(before: str, after: str) -> None:
    assert type_changes.keeps_rows(before, after, is_utc=True)
    assert not type_changes.keeps_rows(before, after, is_utc=False)
