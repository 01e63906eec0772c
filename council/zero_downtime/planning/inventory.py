"""The inventory: what a database holds, as far as it affects a statement's locks and duration.

It is read from the system catalogues and statistics, which takes no lock on the tables. While a plan is made, each
planned statement is applied to the inventory.
"""

from dataclasses import dataclass, field

from django.db.backends.base.base import BaseDatabaseWrapper

from council.postgres import catalog, sql_parser, volatility

PAGE_BYTES = 8192


@dataclass
class Column:
    type: str
    is_nullable: bool = True
    bytes: float = 8.0  # on average
    null_share: float = 0.0
    elements: float = 1.0  # in an array, on average
    is_sorted: bool = False  # also True if all rows have the same value
    only_number: int | None = None  # the value, if all rows have the same number
    has_default: bool = False  # in the database; an identity counts as one


@dataclass
class TableIndex:
    columns: list[str]  # "" for an expression
    method: str = "btree"
    is_unique: bool = False
    # The columns used in its expressions or its condition.
    computed_from: list[str] = field(default_factory=list)


@dataclass
class TableConstraint:
    kind: str  # as in pg_constraint.contype
    parent: str | None = None
    is_validated: bool = True
    not_null: str | None = None  # the column for which this check forbids NULL
    columns: list[str] = field(default_factory=list)


@dataclass
class Table:
    rows: int = 0
    bytes: int = 0
    is_partitioned: bool = False
    is_in_use: bool = True  # False if this run creates it; for lint, which knows no run, see deadlocks.py
    is_counted: bool = True  # False if it was never analysed, so its row count is unknown
    columns: dict[str, Column] = field(default_factory=dict)
    indexes: dict[str, TableIndex] = field(default_factory=dict)
    constraints: dict[str, TableConstraint] = field(default_factory=dict)

    def rename_constraint(self, old: str, new: str) -> None:
        if old in self.constraints:
            self.constraints[new] = self.constraints.pop(old)
        if old in self.indexes:
            self.indexes[new] = self.indexes.pop(old)


@dataclass
class Inventory:
    """Tables by name. For tables outside the current schema, the name includes the schema."""

    schema: str = "public"
    tables: dict[str, Table] = field(default_factory=dict)
    enums: set[str] = field(default_factory=set)
    invalid_indexes: set[str] = field(default_factory=set)
    # By name: the worst volatility of all functions with that name, as in pg_proc.
    functions: dict[str, str] = field(default_factory=lambda: dict(volatility.own()))
    is_utc: bool = True  # the session's time zone
    # The tables that SQL functions read, by function name.
    function_tables: dict[str, list[str]] = field(default_factory=dict)
    # Created by the current migration, so nobody else uses them.
    new_tables: set[str] = field(default_factory=set)
    new_enums: set[str] = field(default_factory=set)
    # Values added to enums by the current migration.
    new_labels: dict[str, list[str]] = field(default_factory=dict)
    # By app: the tables that lint takes for new.
    new_of_app: dict[str, set[str]] = field(default_factory=dict)
    has_sizes: bool = False  # True if it was read from a database; otherwise tables may be of any size

    def name(self, schema: str | None, table: str) -> str:
        return table if schema in {None, self.schema} else f"{schema}.{table}"

    def __getitem__(self, table: str) -> Table:
        """Return a table. If it is unknown, return one without rows."""
        return self.tables.setdefault(table, Table())

    def table_of_index(self, index: str) -> str | None:
        return next((name for name, table in self.tables.items() if index in table.indexes), None)

    def rename_table(self, old: str, new: str) -> None:
        self.tables[new] = self.tables.pop(old, Table())
        if old in self.new_tables:
            self.new_tables.add(new)
        for found in self.tables.values():
            for constraint in found.constraints.values():
                if constraint.parent == old:
                    constraint.parent = new

    def rename_column(self, table: str, old: str, new: str) -> None:
        found = self[table]
        if old in found.columns:
            found.columns[new] = found.columns.pop(old)
        parts: list[TableIndex | TableConstraint] = [*found.indexes.values(), *found.constraints.values()]
        for part in parts:
            part.columns = [new if column == old else column for column in part.columns]
        for index in found.indexes.values():
            index.computed_from = [new if column == old else column for column in index.computed_from]
        for constraint in found.constraints.values():
            if constraint.not_null == old:
                constraint.not_null = new

    def begin_migration(self) -> None:
        self.new_tables.clear()
        self.new_enums.clear()
        self.new_labels.clear()


# Statements can also change materialized views, which have indexes, and foreign tables, which have checks.
TABLES = """
    SELECT c.relname,
           CASE WHEN c.reltuples < 0 THEN coalesce(s.n_live_tup, 0) ELSE c.reltuples END::bigint,
           c.relpages::bigint,
           c.relkind = 'p',
           c.reltuples >= 0 OR coalesce(s.n_live_tup, 0) > 0
      FROM pg_class c
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
     WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'm', 'f')
"""
# The last number in elem_count_histogram is the average number of elements.
COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
           coalesce(s.avg_width, 8), coalesce(s.null_frac, 0),
           coalesce(s.elem_count_histogram[array_upper(s.elem_count_histogram, 1)], 1),
           coalesce(abs(s.correlation) > 0.99 OR s.n_distinct = 1 OR s.null_frac = 1, false),
           CASE WHEN s.n_distinct = 1 AND s.null_frac = 0 AND format_type(a.atttypid, NULL) ~ '^(small|big)?int(eger)?$'
                THEN (s.most_common_vals::text::bigint[])[1] END,
           a.atthasdef OR a.attidentity <> ''
      FROM pg_attribute a
      JOIN pg_class c ON c.oid = a.attrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
     WHERE n.nspname = %(schema)s AND c.relkind IN ('r', 'p', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
"""
# Invalid indexes are left from interrupted builds and will be built again.
INDEXES = """
    SELECT t.relname, x.relname,
           ARRAY(SELECT coalesce(a.attname, '') FROM unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
                   LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.place),
           m.amname, i.indisunique,
           ARRAY(SELECT a.attname::text FROM pg_depend d
                   JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                    AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                    AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))
      FROM pg_index i
      JOIN pg_class x ON x.oid = i.indexrelid
      JOIN pg_class t ON t.oid = i.indrelid
      JOIN pg_am m ON m.oid = x.relam
      JOIN pg_namespace n ON n.oid = t.relnamespace
     WHERE n.nspname = %(schema)s AND t.relkind IN ('r', 'p', 'm', 'f') AND i.indisvalid
"""
CONSTRAINTS = """
    SELECT t.relname, k.conname, k.contype, p.relname, k.convalidated,
           substring(pg_get_constraintdef(k.oid) FROM '^CHECK \\(\\("?([^"]+?)"? IS NOT NULL\\)\\)'),
           ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS c (attnum, place)
                   JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = c.attnum ORDER BY c.place)
      FROM pg_constraint k
      JOIN pg_class t ON t.oid = k.conrelid
      LEFT JOIN pg_class p ON p.oid = k.confrelid
      JOIN pg_namespace n ON n.oid = t.relnamespace
     WHERE n.nspname = %(schema)s AND t.relkind IN ('r', 'p', 'm', 'f') AND k.contype IN ('c', 'f', 'p', 'u', 'x')
"""
ENUMS = """
    SELECT y.typname
      FROM pg_type y
      JOIN pg_namespace n ON n.oid = y.typnamespace
     WHERE n.nspname = %(schema)s AND y.typtype = 'e'
"""
INVALID_INDEXES = """
    SELECT x.relname
      FROM pg_index i
      JOIN pg_class x ON x.oid = i.indexrelid
      JOIN pg_namespace n ON n.oid = x.relnamespace
     WHERE n.nspname = %(schema)s AND NOT (i.indisvalid AND i.indisready)
"""
# Bodies in SQL-standard form (BEGIN ATOMIC) are left out: PostgreSQL stores them as trees, not as text.
FUNCTION_BODIES = """
    SELECT p.proname, p.prosrc
      FROM pg_proc p
      JOIN pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_language l ON l.oid = p.prolang
     WHERE n.nspname = %(schema)s AND l.lanname = 'sql' AND p.prosrc <> ''
"""


def read(connection: BaseDatabaseWrapper) -> Inventory:
    """Read the inventory of the current schema."""
    schema = catalog.current_schema(connection)
    found = Inventory(schema, has_sizes=True)
    with connection.cursor() as cursor:

        def rows(query: str) -> list[tuple]:
            cursor.execute(query, {"schema": schema})
            return list(cursor.fetchall())

        # Other sessions may create and drop tables between these queries.
        for name, count, pages, is_partitioned, is_counted in rows(TABLES):
            found.tables[name] = Table(count, pages * PAGE_BYTES, is_partitioned, is_counted=is_counted)
        for table, name, *facts in rows(COLUMNS):
            found[table].columns[name] = Column(*facts)
        for table, name, *facts in rows(INDEXES):
            found[table].indexes[name] = TableIndex(*facts)
        for table, name, *facts in rows(CONSTRAINTS):
            found[table].constraints[name] = TableConstraint(*facts)
        found.enums = {name for (name,) in rows(ENUMS)}
        found.invalid_indexes = {name for (name,) in rows(INVALID_INDEXES)}
        for name, body in rows(FUNCTION_BODIES):
            found.function_tables[name] = sql_parser.tables(body)
        cursor.execute("SELECT current_setting('TimeZone') IN ('UTC', 'Etc/UTC', 'GMT')")
        [(found.is_utc,)] = cursor.fetchall()
        found.functions = dict(rows(volatility.QUERY))
    return found
