"""The SQL of a release: tables with a row for each company, and the counts, neighbours and changes of each cell.

Each step is one statement for a whole category, however many fields it has. Only releases.py calls this.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import connection

from benchmarks import basis, definitions, disclosure
from benchmarks.basis import Source
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, NumberField
from benchmarks.moved_answers import literal, quoted

BAND, TYPE = definitions.GROUPINGS


@dataclass(frozen=True)
class Table:
    """A temporary table with a row for each company: its groups and its answers, as they are counted.

    Numbers are moved, and some choices replaced (disclosure.py). A choice is its position among the field's choices.
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
        """Return the bands of each dimension, in order."""
        return {
            dimension: tuple(value for value, _ in _choice(dimension).all_choices)
            for dimension in definitions.GROUPINGS
        }


def _choice(name: str) -> ChoiceField:
    found = definitions.field(Category.BUSINESS, name)
    assert isinstance(found, ChoiceField)
    return found


def _one_row_a_company(answers: str, asked: Sequence[NumberField | ChoiceField]) -> str:
    """Write SQL for a row for each company.

    If several members of a company answered, each field has the answer of the first member who has one.
    """
    names = ", ".join(quoted(one.name) for one in asked)
    first = ", ".join(
        f"(min(ARRAY[place, {quoted(one.name)}]) FILTER (WHERE {quoted(one.name)} IS NOT NULL))[2]"
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
    """Make a temporary table of companies and their groups, from the answers in BUSINESS."""
    dimensions = [_choice(dimension) for dimension in definitions.GROUPINGS]
    answers = source.answers(dimensions, Category.BUSINESS, is_aged=False, rules=rules)
    rows = _one_row_a_company(answers, dimensions)
    statement = f"CREATE TEMPORARY TABLE {quoted(name)} ON COMMIT DROP AS SELECT * FROM {rows} AS companies"
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
        if (asked := basis.fields(category, is_aged=is_aged))
    ]
    joined = sides[0] + " AS one"
    if len(sides) == 2:
        joined += f" FULL JOIN {sides[1]} AS two USING (company)"
    columns = ", ".join(quoted(asked.name) for asked in table.fields)
    answers = ", ".join(f"answers.{quoted(asked.name)}" for asked in table.fields)
    statement = f"""
CREATE TEMPORARY TABLE {quoted(name)} ON COMMIT DROP AS
SELECT company, coalesce(grouped.{quoted(BAND)}, 0) AS "band of", coalesce(grouped.{quoted(TYPE)}, 0) AS "type of",
       {answers}
  FROM (SELECT company, {columns} FROM {joined}) AS answers
  LEFT JOIN {quoted(groups)} AS grouped USING (company)"""
    with connection.cursor() as cursor:
        cursor.execute(statement, source.values)
    return table


@dataclass
class Counts:
    """The numbers of companies with an answer, by field and by (band, type).

    Bands, types and choices are positions from 1; 0 means no band or type. `choices` has the number for each choice.
    """

    companies: dict[str, dict[tuple[int, int], int]] = field(default_factory=lambda: defaultdict(dict))
    choices: dict[tuple[str, int], dict[tuple[int, int], int]] = field(
        default_factory=lambda: defaultdict(dict)
    )


def count(table: Table) -> Counts:
    """Count the companies with an answer, for all fields and groups at once."""
    wanted: list[tuple[str, int]] = [(asked.name, 0) for asked in table.fields]
    wanted += [
        (choice.name, position)
        for choice in table.choices
        for position in range(1, len(choice.all_choices) + 1)
    ]
    columns = ", ".join(
        f"count(*) FILTER (WHERE {quoted(name)} = {position})" if position else f"count({quoted(name)})"
        for name, position in wanted
    )
    found = Counts()
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT "band of"::int, "type of"::int, {columns} FROM {quoted(table.name)} GROUP BY 1, 2'
        )
        for band, type_, *counts in cursor.fetchall():
            for (name, position), companies in zip(wanted, counts, strict=True):
                if position:
                    found.choices[name, position][band, type_] = companies
                else:
                    found.companies[name][band, type_] = companies
    return found


@dataclass(frozen=True)
class Scope:
    """The companies that a cell is about: all, or those whose band in the dimension is at one of `positions`."""

    dimension: str = ""
    bands: tuple[str, ...] = ()
    positions: frozenset[int] = frozenset()

    def holds(self, band: int, type_: int) -> bool:
        return not self.dimension or (band if self.dimension == BAND else type_) in self.positions

    def sum(self, counts: Mapping[tuple[int, int], int]) -> int:
        return sum(companies for groups, companies in counts.items() if self.holds(*groups))


@dataclass(frozen=True)
class Wanted:
    """The ranks, from 1, of the answers that a cell's quantile needs. `companies` is the number of answers."""

    field: str
    scope: Scope
    companies: int
    ranks: tuple[int, ...]


def neighbours(table: Table, wanted: Sequence[Wanted]) -> list[dict[int, float]]:
    """Fetch the answers at the wanted ranks, for all cells in one pass over the table."""
    if not wanted:
        return []
    columns, values = [], []
    for cell in wanted:
        column = "band of" if cell.scope.dimension == BAND else "type of"
        positions = ", ".join(map(str, sorted(cell.scope.positions)))
        where = f" FILTER (WHERE {quoted(column)} IN ({positions}))" if cell.scope.dimension else ""
        columns.append(f"percentile_disc(%s::float8[]) WITHIN GROUP (ORDER BY {quoted(cell.field)}){where}")
        # percentile_disc returns the first answer whose cumulative share reaches the fraction.
        values.append([(rank - 0.5) / cell.companies for rank in cell.ranks])
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM {quoted(table.name)}", values)
        row = cursor.fetchone()
    assert row is not None
    return [dict(zip(cell.ranks, found, strict=True)) for cell, found in zip(wanted, row, strict=True)]


@dataclass(frozen=True)
class Change:
    """How many companies moved from the groups `old` to the groups `new`. None means that there was no answer."""

    old: tuple[int, int] | None
    new: tuple[int, int] | None
    is_answer_changed: bool
    companies: int

    def concerns(self, scope: Scope) -> bool:
        was = self.old is not None and scope.holds(*self.old)
        is_ = self.new is not None and scope.holds(*self.new)
        return was != is_ or (was and is_ and self.is_answer_changed)


def changes(old: Table, new: Table) -> dict[str, list[Change]]:
    """Compare the answers in two tables, field by field, and count the companies for each kind of change."""
    parts = " UNION ALL ".join(
        f"SELECT {literal(asked.name)} AS field, "
        f'CASE WHEN old.{quoted(asked.name)} IS NOT NULL THEN old."band of"::int END AS old_band, '
        f'old."type of"::int AS old_type, '
        f'CASE WHEN new.{quoted(asked.name)} IS NOT NULL THEN new."band of"::int END AS new_band, '
        f'new."type of"::int AS new_type, '
        f"old.{quoted(asked.name)} IS DISTINCT FROM new.{quoted(asked.name)} AS is_changed "
        f"FROM {quoted(old.name)} AS old FULL JOIN {quoted(new.name)} AS new USING (company)"
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


def changed(changes: Iterable[Change], scope: Scope) -> int:
    """Count the companies of a cell that changed, joined or left."""
    return sum(change.companies for change in changes if change.concerns(scope))
