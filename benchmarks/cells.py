"""The database's part of a release: who counts, one row a company, and per cell its count, changes and neighbours.

Each step is one statement for a whole category, however many fields it has. Temporary tables last until the transaction
ends, so a transaction pooler is no obstacle. SQL is made of names, limits and choices out of the definitions, and of
nothing that anybody typed. Only releases.py calls this.
"""

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from benchmarks import definitions, disclosure
from benchmarks.definitions import Category, ChoiceField, NumberField
from council.postgres.fields import cuid

BAND, TYPE = definitions.GROUPINGS
JOINED_BEFORE_DAYS = 30

# The versions whose newest review by the cut-off accepts them. The newest has the largest id; its state rides along in
# the same number, so that one pass finds it.
REVIEWED = """
CREATE TEMPORARY TABLE {reviewed} ON COMMIT DROP AS
SELECT "versionId"
  FROM "BenchmarkReview"
 WHERE "createdAt" < %(cut_off)s
 GROUP BY "versionId"
HAVING max(2 * id + (state = 'RECEIVED')::int) %% 2 = 1
"""

# The newest accepted version of each member, unless the answers were withdrawn since; of companies that count.
# `place` says who speaks for a company: its owner, else who answered last.
# Most versions are a member's first, so that what came later is few rows, and so are withdrawals; and most authors are
# active, so that nothing else is looked up for their companies.
# People's standing has no history: it is as it is when the release is taken.
CHOSEN = """
WITH later AS MATERIALIZED (
    SELECT "memberId", number
      FROM "BenchmarkVersion" AS version
     WHERE category = %(category)s::"BenchmarkCategory"
       AND (number > 1 AND "recordedAt" < %(as_of)s AND id IN (SELECT "versionId" FROM {reviewed})
            OR "isWithdrawn" AND "recordedAt" < %(cut_off)s)
)
SELECT version.id AS version, "memberId", "companyKey" AS company, data,
       (CASE WHEN "isPrimaryOwner" THEN -1e10 ELSE 0 END - extract(epoch FROM "recordedAt"))::float8 AS place
  FROM "BenchmarkVersion" AS version
  JOIN {reviewed} AS reviewed ON reviewed."versionId" = version.id
  JOIN "Member" AS member ON member.id = "memberId"
 WHERE category = %(category)s::"BenchmarkCategory" AND NOT "isWithdrawn" AND "recordedAt" < %(as_of)s
   AND NOT EXISTS (SELECT FROM later WHERE later."memberId" = version."memberId" AND later.number > version.number)
   AND ("subscriptionStatus" = 'ACTIVE' AND member."createdAt" <= %(joined_by)s
        OR "companyKey" IN (
             SELECT coalesce('team:' || "teamId", 'customer:' || "stripeCustomerId", 'member:' || id)
               FROM "Member"
              WHERE "subscriptionStatus" = 'ACTIVE' AND "createdAt" <= %(joined_by)s)
        OR "companyKey" IN (
             SELECT other."companyKey"
               FROM "BenchmarkVersion" AS other
               JOIN "Member" AS author ON author.id = other."memberId"
              WHERE other.category = %(category)s::"BenchmarkCategory"
                AND other."recordedAt" < %(as_of)s
                AND author."subscriptionStatus" = 'ACTIVE'
                AND author."createdAt" <= %(joined_by)s))
"""

BASIS = """
INSERT INTO "BenchmarkBasis" (id, "releaseId", category, "isAged", versions)
SELECT %(id)s, %(release)s, %(category)s::"BenchmarkCategory", %(is_aged)s,
       coalesce(array_agg(version ORDER BY place), '{{}}')
  FROM {name}
"""

# For a hundred thousand companies; the default would put each step on disk. Temporary tables have no statistics, so the
# planner might go through one of them again for each row of another. Parallel workers would each do the same sums.
SETTINGS = """
SET LOCAL work_mem = '64MB';
SET LOCAL enable_nestloop = off;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL jit = off
"""

# Which companies may have changed between two releases: those with a version that only one of them was made from.
CHANGED_COMPANIES = """
WITH bases AS (
    SELECT unnest(versions) AS version, category, "isAged", "releaseId" = %(new)s AS is_new
      FROM "BenchmarkBasis"
     WHERE "releaseId" IN (%(old)s, %(new)s)
       AND category IN (%(category)s::"BenchmarkCategory", 'BUSINESS')
), changed AS (
    SELECT version FROM bases GROUP BY version, category, "isAged" HAVING bool_and(is_new) OR NOT bool_or(is_new)
)
SELECT DISTINCT "companyKey" FROM changed JOIN "BenchmarkVersion" ON id = version
"""


def prepare(*, release: str, cut_off: datetime) -> None:
    """Set the transaction up for large steps, and find the versions that were accepted by the cut-off."""
    reviewed = REVIEWED.format(reviewed=_reviewed(release))
    with connection.cursor() as cursor:
        cursor.execute(SETTINGS)
        cursor.execute(reviewed, {"cut_off": cut_off.replace(tzinfo=None)})


def _reviewed(release: str) -> str:
    return _quoted(f"reviewed {release}")


def choose(
    *,
    release: str,
    category: Category,
    is_aged: bool,
    cut_off: datetime,
    as_of: datetime,
    rules: disclosure.Rules = disclosure.RULES,
) -> None:
    """Choose the versions that a release is made from: read them into a temporary table, and note them as its basis."""
    values: dict[str, Any] = {
        "id": cuid(),
        "release": release,
        "category": category.value,
        "is_aged": is_aged,
        "cut_off": cut_off.replace(tzinfo=None),
        "as_of": as_of.replace(tzinfo=None),
        "joined_by": (cut_off - timedelta(days=JOINED_BEFORE_DAYS)).replace(tzinfo=None),
    }
    name = _quoted(_chosen(release, category, is_aged=is_aged))
    versions = CHOSEN.format(reviewed=_reviewed(release))
    answers = _answers(versions, fields(category, is_aged=is_aged), rules)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {answers}", values)
        cursor.execute(BASIS.format(name=name), values)


def fields(category: Category, *, is_aged: bool) -> list[NumberField | ChoiceField]:
    """List the fields that are taken from answers of the cut-off, or from those that are 90 days old."""
    numbers = [number for number in definitions.number_fields(category) if number.is_pay_or_fee == is_aged]
    return [*numbers, *(() if is_aged else definitions.choice_fields(category))]


@dataclass(frozen=True)
class Source:
    """Where the versions of a table come from: the temporary table of a release on its way, or a basis.

    Of a basis, only some companies are read: those that may have changed.
    """

    chosen: str = ""
    release: str = ""
    companies: tuple[str, ...] = ()

    def answers(
        self,
        asked: Sequence[NumberField | ChoiceField],
        category: Category,
        *,
        is_aged: bool,
        rules: disclosure.Rules,
    ) -> str:
        """Write SQL for the answers: company, place, and a column for each field."""
        if self.chosen:
            return f"SELECT * FROM {_quoted(_chosen(self.chosen, category, is_aged=is_aged))}"
        versions = f"""
            SELECT chosen.version, "memberId", "companyKey" AS company, data, place::float8
              FROM "BenchmarkBasis", unnest(versions) WITH ORDINALITY AS chosen (version, place)
              JOIN "BenchmarkVersion" AS version ON version.id = chosen.version
             WHERE "releaseId" = %(release)s
               AND "BenchmarkBasis".category = '{category.value}'
               AND "isAged" = {is_aged}
               AND "companyKey" = ANY (%(companies)s::text[])"""
        return _answers(versions, asked, rules)

    @property
    def values(self) -> dict[str, Any]:
        return {} if self.chosen else {"release": self.release, "companies": list(self.companies)}


def _chosen(release: str, category: Category, *, is_aged: bool) -> str:
    return f"chosen {category.value}{' aged' if is_aged else ''} {release}"


@dataclass(frozen=True)
class Table:
    """A temporary table with a row for each company: its groups and its answers, as they are counted.

    Numbers are moved, choices may be others (disclosure.py), and stand as their position among the field's choices.
    """

    name: str
    category: Category

    @property
    def numbers(self) -> tuple[NumberField, ...]:
        return definitions.number_fields(self.category)

    @property
    def choices(self) -> tuple[ChoiceField, ...]:
        return definitions.choice_fields(self.category)

    @property
    def fields(self) -> tuple[NumberField | ChoiceField, ...]:
        return (*self.numbers, *self.choices)

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Name the bands of each dimension, in order."""
        return {
            dimension: tuple(value for value, _ in _choice(dimension).all_choices)
            for dimension in definitions.GROUPINGS
        }


def step(number: NumberField) -> float:
    """Say by how much an answer is moved at least: by one where things are counted."""
    return 0.1 if number.unit.decimals else 1.0


def _choice(name: str) -> ChoiceField:
    found = definitions.field(Category.BUSINESS, name)
    assert isinstance(found, ChoiceField)
    return found


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


# A member's draw: the first 8 bytes of an HMAC-SHA256 of the member's id.
MEMBER_DRAW = """
('x' || encode(substring(
  sha256((SELECT current_setting('benchmark.outer')::bytea)
         || sha256((SELECT current_setting('benchmark.inner')::bytea) || convert_to("memberId", 'UTF8')))
  FOR 8), 'hex'))::bit(64)::bigint"""


def set_key(key: str) -> None:
    """Give the transaction the key, prepared for HMAC in SQL, which has SHA-256 only. Source: RFC 2104.

    By a statement of its own, so that the key is in no statement that a server's log of slow ones would keep.
    """
    secret = hmac.digest(key.encode(), b"answers", hashlib.sha256).ljust(64, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in secret) for pad in (0x36, 0x5C))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('benchmark.inner', %s, true), set_config('benchmark.outer', %s, true)",
            [f"\\x{inner.hex()}", f"\\x{outer.hex()}"],
        )


def _seed(name: str) -> int:
    """Tell the fields' draws apart: a number that never changes, made of the field's name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _drawn(name: str) -> str:
    """Draw from 0 up to 1 for a field, from the member's draw, by PostgreSQL's own hash of 64 bits."""
    return f"((hashint8extended(draw, {_seed(name)}) & 16777215) / 16777216::float8)"


def _number(number: NumberField, rules: disclosure.Rules) -> str:
    """Write SQL for a number as it is counted, from its column of plain numbers."""
    value = _quoted(number.name)
    counts = f"CASE WHEN {value} BETWEEN {number.minimum} AND {number.maximum} THEN "
    if not rules.max_move:
        return f"{counts}{value} END"
    move = f"greatest({rules.max_move} * abs({value}), {step(number)})"
    return f"{counts}greatest({value} + (2 * {_drawn(number.name)} - 1) * {move}, {number.minimum}) END"


def _read(asked: NumberField | ChoiceField) -> str:
    """Write SQL for a stored answer: a number, or the position of a choice from 1 up."""
    if isinstance(asked, NumberField):
        value = f"data -> '{asked.name}'"
        return f"CASE WHEN jsonb_typeof({value}) = 'number' THEN ({value})::float8 END"
    return _position(asked)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"


def _position(choice: ChoiceField) -> str:
    text = f"lower(btrim(regexp_replace(data ->> '{choice.name}', '[[:space:]]+', ' ', 'g')))"
    known: dict[str, int] = {}
    for position, (value, label) in enumerate(choice.all_choices, 1):
        known.setdefault(value.casefold(), position)
        known.setdefault(label.casefold(), position)
    cases = " ".join(f"WHEN {_literal(name)} THEN {position}" for name, position in known.items())
    rest = f"WHEN '' THEN NULL ELSE {len(choice.all_choices)}" if choice.has_other else ""
    exact = " ".join(
        f"WHEN {_literal(value)} THEN {position}" for position, (value, _) in enumerate(choice.all_choices, 1)
    )
    return (
        f"CASE data ->> '{choice.name}' WHEN NULL THEN NULL {exact} ELSE "
        f"CASE WHEN data ? '{choice.name}' THEN CASE {text} {cases} {rest} END END END"
    )


def _choice_counted(choice: ChoiceField, rules: disclosure.Rules) -> str:
    """Write SQL for the position of the choice under which an answer is counted, from the true one's column."""
    chosen, many = _quoted(choice.name), len(choice.all_choices)
    if not rules.other_choice:
        return f"{chosen}::float8"
    # The n-th of the others is n, or one more from the chosen one on.
    other = f"1 + floor({_drawn(choice.name)} / {rules.other_choice} * {many - 1})::int"
    return (
        f"CASE WHEN {_drawn(choice.name)} >= {rules.other_choice} THEN {chosen} "
        f"ELSE {other} + ({other} >= {chosen})::int END::float8"
    )


def _expression(asked: NumberField | ChoiceField, rules: disclosure.Rules) -> str:
    return _number(asked, rules) if isinstance(asked, NumberField) else _choice_counted(asked, rules)


def _answers(versions: str, asked: Sequence[NumberField | ChoiceField], rules: disclosure.Rules) -> str:
    """Write SQL that reads versions: each stored answer once, and then as it is counted."""
    stored = ", ".join(f"{_read(one)} AS {_quoted(one.name)}" for one in asked)
    counted = ", ".join(f"{_expression(one, rules)} AS {_quoted(one.name)}" for one in asked)
    return f"""
SELECT version, company, place, {counted}
  FROM (SELECT version, company, place, {MEMBER_DRAW} AS draw, {stored}
          FROM ({versions}) AS versions
        OFFSET 0) AS stored"""


def _one_row_a_company(answers: str, asked: Sequence[NumberField | ChoiceField]) -> str:
    """Write SQL for a row for each company.

    Where several members of a company answered, the first who has an answer speaks for it, field by field.
    """
    names = ", ".join(_quoted(one.name) for one in asked)
    first = ", ".join(
        f"(min(ARRAY[place, {_quoted(one.name)}]) FILTER (WHERE {_quoted(one.name)} IS NOT NULL))[2]"
        for one in asked
    )
    return f"""
(WITH answers AS ({answers}
), several AS (
    SELECT company FROM answers WHERE company NOT LIKE 'member:%%' GROUP BY company HAVING count(*) > 1
)
SELECT company, {names} FROM answers WHERE company NOT IN (SELECT company FROM several)
UNION ALL
SELECT company, {first} FROM answers WHERE company IN (SELECT company FROM several) GROUP BY company)"""


def make_groups(*, name: str, source: Source, rules: disclosure.Rules = disclosure.RULES) -> None:
    """Make a temporary table of companies and their groups, which BUSINESS tells."""
    dimensions = [_choice(dimension) for dimension in definitions.GROUPINGS]
    answers = source.answers(dimensions, Category.BUSINESS, is_aged=False, rules=rules)
    rows = _one_row_a_company(answers, dimensions)
    statement = f"CREATE TEMPORARY TABLE {_quoted(name)} ON COMMIT DROP AS SELECT * FROM {rows} AS companies"
    with connection.cursor() as cursor:
        cursor.execute(statement, source.values)


def make_table(
    *, name: str, groups: str, source: Source, category: Category, rules: disclosure.Rules = disclosure.RULES
) -> Table:
    """Make the temporary table of a category's answers."""
    table = Table(name, category)
    sides = [
        _one_row_a_company(source.answers(asked, category, is_aged=is_aged, rules=rules), asked)
        for is_aged in (False, True)
        if (asked := fields(category, is_aged=is_aged))
    ]
    joined = sides[0] + " AS one"
    if len(sides) == 2:
        joined += f" FULL JOIN {sides[1]} AS two USING (company)"
    columns = ", ".join(_quoted(asked.name) for asked in table.fields)
    answers = ", ".join(f"answers.{_quoted(asked.name)}" for asked in table.fields)
    statement = f"""
CREATE TEMPORARY TABLE {_quoted(name)} ON COMMIT DROP AS
SELECT company, coalesce(grouped.{_quoted(BAND)}, 0) AS "band of", coalesce(grouped.{_quoted(TYPE)}, 0) AS "type of",
       {answers}
  FROM (SELECT company, {columns} FROM {joined}) AS answers
  LEFT JOIN {_quoted(groups)} AS grouped USING (company)"""
    with connection.cursor() as cursor:
        cursor.execute(statement, source.values)
    return table


@dataclass
class Counts:
    """How many companies have an answer, by field and by (band, type), each a position from 1 up, or 0 for none.

    `choices` counts those of each choice of a field, by its position.
    """

    companies: dict[str, dict[tuple[int, int], int]] = field(default_factory=lambda: defaultdict(dict))
    choices: dict[tuple[str, int], dict[tuple[int, int], int]] = field(
        default_factory=lambda: defaultdict(dict)
    )


def count(table: Table) -> Counts:
    """Count the companies with an answer, in every field and group at once."""
    wanted: list[tuple[str, int]] = [(asked.name, 0) for asked in table.fields]
    wanted += [
        (choice.name, position)
        for choice in table.choices
        for position in range(1, len(choice.all_choices) + 1)
    ]
    columns = ", ".join(
        f"count(*) FILTER (WHERE {_quoted(name)} = {position})" if position else f"count({_quoted(name)})"
        for name, position in wanted
    )
    found = Counts()
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT "band of"::int, "type of"::int, {columns} FROM {_quoted(table.name)} GROUP BY 1, 2'
        )
        for band, type_, *counts in cursor.fetchall():
            for (name, position), companies in zip(wanted, counts, strict=True):
                if position:
                    found.choices[name, position][band, type_] = companies
                else:
                    found.companies[name][band, type_] = companies
    return found


@dataclass(frozen=True)
class Place:
    """Which companies a cell is about: all, or those whose group is among `positions`, by the dimension's place."""

    dimension: str = ""
    bands: tuple[str, ...] = ()
    positions: frozenset[int] = frozenset()

    def holds(self, band: int, type_: int) -> bool:
        return not self.dimension or (band if self.dimension == BAND else type_) in self.positions

    def sum(self, counts: Mapping[tuple[int, int], int]) -> int:
        return sum(companies for groups, companies in counts.items() if self.holds(*groups))


@dataclass(frozen=True)
class Wanted:
    """The answers that a cell's quantiles need, by rank from 1 up, of so many."""

    field: str
    place: Place
    companies: int
    ranks: tuple[int, ...]


def neighbours(table: Table, wanted: Sequence[Wanted]) -> list[dict[int, float]]:
    """Fetch the answers of the wanted ranks, all cells in one pass over the table."""
    if not wanted:
        return []
    columns, values = [], []
    for cell in wanted:
        column = "band of" if cell.place.dimension == BAND else "type of"
        positions = ", ".join(map(str, sorted(cell.place.positions)))
        where = f" FILTER (WHERE {_quoted(column)} IN ({positions}))" if cell.place.dimension else ""
        columns.append(f"percentile_disc(%s::float8[]) WITHIN GROUP (ORDER BY {_quoted(cell.field)}){where}")
        # percentile_disc takes the first answer whose share of the answers up to it reaches the fraction.
        values.append([(rank - 0.5) / cell.companies for rank in cell.ranks])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM {_quoted(table.name)}", values)
        row = cursor.fetchone()
    assert row is not None
    return [dict(zip(cell.ranks, found, strict=True)) for cell, found in zip(wanted, row, strict=True)]


@dataclass(frozen=True)
class Change:
    """So many companies whose answer and groups went from one to another alike; None where there was none."""

    old: tuple[int, int] | None
    new: tuple[int, int] | None
    is_answer_changed: bool
    companies: int

    def concerns(self, place: Place) -> bool:
        was = self.old is not None and place.holds(*self.old)
        is_ = self.new is not None and place.holds(*self.new)
        return was != is_ or (was and is_ and self.is_answer_changed)


def changed_companies(*, old: str, new: str, category: Category) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(CHANGED_COMPANIES, {"old": old, "new": new, "category": category.value})
        return [row[0] for row in cursor.fetchall()]


def changes(old: Table, new: Table) -> dict[str, list[Change]]:
    """Compare two tables of the same companies, field by field."""
    parts = " UNION ALL ".join(
        f"SELECT {_literal(asked.name)} AS field, "
        f'CASE WHEN old.{_quoted(asked.name)} IS NOT NULL THEN old."band of"::int END AS old_band, '
        f'old."type of"::int AS old_type, '
        f'CASE WHEN new.{_quoted(asked.name)} IS NOT NULL THEN new."band of"::int END AS new_band, '
        f'new."type of"::int AS new_type, '
        f"old.{_quoted(asked.name)} IS DISTINCT FROM new.{_quoted(asked.name)} AS is_changed "
        f"FROM {_quoted(old.name)} AS old FULL JOIN {_quoted(new.name)} AS new USING (company)"
        for asked in new.fields
    )
    found: dict[str, list[Change]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT *, count(*) FROM ({parts}) AS companies GROUP BY 1, 2, 3, 4, 5, 6")
        for name, old_band, old_type, new_band, new_type, is_changed, companies in cursor.fetchall():
            was = None if old_band is None else (old_band, old_type)
            is_ = None if new_band is None else (new_band, new_type)
            found[name].append(Change(was, is_, is_changed, companies))
    return found


def changed(changes: Iterable[Change], place: Place) -> int:
    """Count the companies of a cell that changed, came or left."""
    return sum(change.companies for change in changes if change.concerns(place))
