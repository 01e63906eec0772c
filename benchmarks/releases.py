"""Releases: each is taken once, after its month is over and as of the month's end, and then only read."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from benchmarks import basis, cells, disclosure, moved_answers
from benchmarks.cells import Scope, Table, Wanted
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, NumberField
from benchmarks.figures import Figure, Release, Rule


class MonthNotOver(Exception):
    """A release was requested before its month was over."""


class OutOfOrder(Exception):
    """A release was requested for a month before that of the newest release."""


# Reading -------------------------------------------------------------------------------------------------------------


def latest() -> Release | None:
    """Return the newest release, or None before the first."""
    return Release.objects.order_by("-month").first()


def before(release: Release) -> Release | None:
    """Return the release before another, or None if there is none."""
    return Release.objects.filter(month__lt=release.month).order_by("-month").first()


def published(release: Release, *, category: Category) -> list[Figure]:
    """List a category's figures that members may see. Pages show missing ones as "not enough yet"."""
    return list(Figure.objects.filter(release=release, category=category, withheld_by=None))


def withheld(release: Release) -> list[Figure]:
    """List the cells that a release withheld, each with the rule. Only for staff."""
    return list(Figure.objects.filter(release=release, withheld_by__isnull=False))


def how_sure(figure: Figure) -> str:
    """Rate how sure a published figure is: sure, fair or rough."""
    assert figure.companies_at_least is not None
    if figure.p25 is None or figure.p50 is None or figure.p75 is None:
        return "rough" if figure.companies_at_least < 100 else "fair"
    return disclosure.how_sure(
        companies_at_least=figure.companies_at_least, lower=figure.p25, median=figure.p50, upper=figure.p75
    )


# Months --------------------------------------------------------------------------------------------------------------


def next_month(month: date) -> date:
    return (month.replace(day=28) + timedelta(days=4)).replace(day=1)


def cut_off_of(month: date) -> datetime:
    """Return the time when a month is over: the start of the next month, UTC."""
    return datetime.combine(next_month(month), datetime.min.time(), UTC)


def now() -> datetime:
    """Return the time by the database's clock, which is the same for all machines and dates the answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        row = cursor.fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment.astimezone(UTC)


def due() -> list[date]:
    """List the months that lack a release: those after the last release or, without any, only the last month."""
    this_month = now().date().replace(day=1)
    last = latest()
    month = next_month(last.month) if last else (this_month - timedelta(days=1)).replace(day=1)
    months = []
    while month < this_month:
        months.append(month)
        month = next_month(month)
    return months


# Taking --------------------------------------------------------------------------------------------------------------


def take(*, month: date) -> Release | None:
    """Take the release of a month, as of the month's end. Returns None if it is out already.

    It runs in one transaction, so a killed run leaves nothing behind. If two run at once, the second waits for the
    first, and then does nothing.
    Raises MonthNotOver, OutOfOrder, ImproperlyConfigured.
    """
    month = month.replace(day=1)
    cut_off = cut_off_of(month)
    key = _key()
    with transaction.atomic():
        if cut_off > now():
            raise MonthNotOver(
                f"{month:%B %Y} is not over. Its release can be taken from {cut_off:%-d %B %Y} on, UTC."
            )
        newest = latest()
        if newest and newest.month > month:
            if Release.objects.filter(month=month).exists():
                return None
            raise OutOfOrder(
                f"{month:%B %Y} has no release, and {newest.month:%B %Y} has one already. Each release depends on "
                "those before it, so leave this month out."
            )
        release = Release(month=month, cut_off=cut_off)
        if not _claim(release):
            return None
        basis.prepare(release=release.pk, cut_off=cut_off)
        moved_answers.set_key(key)
        groups, rules = f"benchmark groups {month}", disclosure.RULES
        for category in Category:
            _choose(release, category, rules)
        cells.make_groups(name=groups, source=basis.Source(chosen=release.pk), rules=rules)
        for category in Category:
            Figure.objects.bulk_create(_Taking(release, category, key, groups, rules).figures())
    return release


CLAIM = """
INSERT INTO "BenchmarkRelease" (id, month, "cutOff") VALUES (%s, %s, %s) ON CONFLICT (month) DO NOTHING
"""


def _claim(release: Release) -> bool:
    """Add the release's row, unless the month has one. A second run waits here until the first ends."""
    with connection.cursor() as cursor:
        cursor.execute(CLAIM, [release.pk, release.month, release.cut_off.replace(tzinfo=None)])
        return bool(cursor.rowcount)


def _key() -> str:
    key: str = settings.BENCHMARK_KEY
    if not key:
        raise ImproperlyConfigured(
            "BENCHMARK_KEY is not set. Without it, a release would protect nobody. Set it to 50 random characters, "
            'and keep it: python -c "import secrets; print(secrets.token_urlsafe(50))".'
        )
    return key


def _choose(release: Release, category: Category, rules: disclosure.Rules) -> None:
    """Choose the versions of a category, as of the cut-off, and for pay and fees as of 90 days before."""
    age = timedelta(days=settings.BENCHMARK_PAY_AGE_DAYS)
    for is_aged in (False, True):
        if basis.fields(category, is_aged=is_aged):
            basis.choose(
                release=release.pk,
                category=category,
                is_aged=is_aged,
                cut_off=release.cut_off,
                as_of=release.cut_off - age if is_aged else release.cut_off,
                rules=rules,
            )


Cell = tuple[str, str, tuple[str, ...]]


@dataclass
class _Taking:
    """One category of the release that is being taken."""

    release: Release
    category: Category
    key: str
    groups_table: str
    rules: disclosure.Rules
    changes: dict[date, Mapping[str, Sequence[cells.Change]]] = field(default_factory=dict)

    def figures(self) -> Iterator[Figure]:
        """Yield every cell of the category, published or withheld."""
        table = cells.make_table(
            name=f"benchmark {self.category} {self.release.month}",
            groups=self.groups_table,
            source=basis.Source(chosen=self.release.pk),
            category=self.category,
            rules=self.rules,
        )
        counts = cells.count(table)
        made_before = self._made_before()
        wanted: list[tuple[Figure, str, float, Wanted]] = []
        for asked in table.fields:
            for scope, is_published in self._scopes(table, asked.name, counts):
                cell = (asked.name, scope.dimension, scope.bands)
                figure = self._figure(cell)
                companies = scope.sum(counts.companies[asked.name])
                old = made_before.get(cell)
                if old and not self._is_recomputed(table, asked.name, scope, old):
                    yield self._carried(figure, old)
                elif not is_published or companies < self.rules.min_companies:
                    yield self._withheld(
                        figure, Rule.TOO_FEW if companies < self.rules.min_companies else Rule.TOO_FEW_BESIDE
                    )
                elif isinstance(asked, ChoiceField):
                    yield self._choice(figure, asked, scope, counts, companies)
                else:
                    figure.as_of = self.release.cut_off.date()
                    figure.companies_at_least = disclosure.at_least(companies)
                    wanted += self._wanted(figure, asked, scope, companies)
        yield from self._numbers(table, wanted)

    def _figure(self, cell: Cell) -> Figure:
        name, dimension, bands = cell
        return Figure(
            release=self.release, category=self.category, field=name, dimension=dimension, bands=list(bands)
        )

    def _scopes(self, table: Table, name: str, counts: cells.Counts) -> Iterator[tuple[Scope, bool]]:
        """Yield the scope of all companies and that of every group, each with whether it may be published."""
        yield Scope(), True
        found = counts.companies[name]
        companies = sum(found.values())
        for dimension, bands in table.groups().items():
            if name == dimension:
                continue  # all companies of a group made the same choice here
            of_band: dict[int, int] = defaultdict(int)
            for (band, type_), number in found.items():
                of_band[band if dimension == cells.BAND else type_] += number
            published, withheld = disclosure.groups(
                [(band, of_band[place]) for place, band in enumerate(bands, 1)],
                companies=companies,
                is_ordered=dimension == cells.BAND,
                rules=self.rules,
            )
            for groups, is_published in ((published, True), (withheld, False)):
                for group in groups:
                    positions = frozenset(bands.index(band) + 1 for band in group.bands)
                    yield Scope(dimension, group.bands, positions), is_published

    # Carrying over

    def _made_before(self) -> dict[Cell, Figure]:
        """Find the newest published figure of every cell in earlier releases."""
        figures = (
            Figure.objects.filter(
                category=self.category, withheld_by=None, release__month__lt=self.release.month
            )
            .order_by("field", "dimension", "bands", "-release__month")
            .distinct("field", "dimension", "bands")
        )
        return {(figure.field, figure.dimension, tuple(figure.bands)): figure for figure in figures}

    def _is_recomputed(self, table: Table, name: str, scope: Scope, old: Figure) -> bool:
        assert old.as_of is not None
        if old.as_of not in self.changes:
            self.changes[old.as_of] = self._changes_since(table, old.as_of)
        changed = cells.changed(self.changes[old.as_of][name], scope)
        return disclosure.is_recomputed(changed, rules=self.rules)

    def _changes_since(self, table: Table, as_of: date) -> Mapping[str, Sequence[cells.Change]]:
        """Compare with the answers that an earlier release was made from."""
        old = Release.objects.get(cut_off=datetime.combine(as_of, datetime.min.time(), UTC))
        companies = tuple(basis.changed_companies(old=old.pk, new=self.release.pk, category=self.category))
        tables = []
        for release in (old, self.release):
            name = f"since {as_of} {self.category} {self.release.month} {release.month}"
            groups, source = f"{name} groups", basis.Source(release=release.pk, companies=companies)
            cells.make_groups(name=groups, source=source, rules=self.rules)
            tables.append(
                cells.make_table(
                    name=name, groups=groups, source=source, category=self.category, rules=self.rules
                )
            )
        return cells.changes(*tables)

    def _carried(self, figure: Figure, old: Figure) -> Figure:
        assert old.as_of is not None
        releases = Release.objects.filter(
            cut_off__gt=datetime.combine(old.as_of, datetime.min.time(), UTC)
        ).count()
        if not disclosure.may_be_carried(releases, rules=self.rules):
            return self._withheld(figure, Rule.FEW_CHANGED)
        figure.as_of, figure.companies_at_least, figure.shares = old.as_of, old.companies_at_least, old.shares
        for name in disclosure.QUANTILES:
            setattr(figure, name, getattr(old, name))
        return figure

    def _withheld(self, figure: Figure, rule: Rule) -> Figure:
        figure.withheld_by = rule
        return figure

    # Making

    def _choice(
        self, figure: Figure, asked: ChoiceField, scope: Scope, counts: cells.Counts, companies: int
    ) -> Figure:
        choices = [value for value, _ in asked.all_choices]
        of_choice = {
            value: scope.sum(counts.choices[asked.name, position])
            for position, value in enumerate(choices, 1)
        }
        shares = disclosure.shares(of_choice, choices=len(choices), rules=self.rules)
        if shares is None:
            return self._withheld(figure, Rule.ONE_CHOICE)
        if not shares:
            return self._withheld(figure, Rule.RARE_CHOICES)
        figure.as_of, figure.shares = self.release.cut_off.date(), shares
        figure.companies_at_least = disclosure.at_least(companies)
        return figure

    def _wanted(
        self, figure: Figure, asked: NumberField, scope: Scope, companies: int
    ) -> Iterator[tuple[Figure, str, float, Wanted]]:
        for name in disclosure.quantiles(companies, rules=self.rules):
            cell = (str(self.release.month), self.category, asked.name, scope.dimension, *scope.bands, name)
            ranks = disclosure.ranks(name, companies, disclosure.draw(self.key, *cell), rules=self.rules)
            yield figure, name, moved_answers.step(asked), Wanted(asked.name, scope, companies, tuple(ranks))

    def _numbers(self, table: Table, wanted: Sequence[tuple[Figure, str, float, Wanted]]) -> Iterator[Figure]:
        answers = cells.neighbours(table, [cell for *_, cell in wanted])
        figures: dict[str, Figure] = {}
        for (figure, name, step, cell), found in zip(wanted, answers, strict=True):
            neighbours = [found[rank] for rank in cell.ranks]
            setattr(figure, name, disclosure.quantile(neighbours, step=step, rules=self.rules))
            figures[figure.pk] = figure
        yield from figures.values()
