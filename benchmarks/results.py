"""The results that members see: their own answers beside a release's figures about their peers.

It reads releases, and is given the member's own answers. It never reads the live answers of others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from django.db.models import Q

from benchmarks import definitions, releases
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, Field, NumberField
from benchmarks.figures import Figure, Release


@dataclass(frozen=True)
class Band:
    """A release's quantiles of the numbers in a cell. `as_of` is the day of the release that made the figure."""

    p10: float | None
    p25: float
    p50: float
    p75: float
    p90: float | None
    as_of: date
    companies_at_least: int
    how_sure: str


@dataclass(frozen=True)
class Group:
    """The companies of one revenue band, or of one kind. `dimension` is the field for it, or "" for all companies."""

    dimension: str = ""
    band: str = ""

    @property
    def label(self) -> str:
        return _label(self.dimension, self.band) if self.dimension else "All companies"

    def __str__(self) -> str:
        """Return the group for a URL: annual_revenue_band.sub_100k, or "" for all companies."""
        return f"{self.dimension}.{self.band}" if self.dimension else ""


ALL = Group()


def groups(own: Mapping[str, Decimal | str]) -> list[Group]:
    """List all companies, then every group, the member's own first. `own` are the member's answers in BUSINESS."""
    found = [
        Group(dimension, value)
        for dimension in definitions.GROUPINGS
        for value, _ in _choice(dimension).choices
    ]
    return [ALL, *sorted(found, key=lambda group: own.get(group.dimension) != group.band)]


def group(text: str) -> Group:
    """Parse a group from a URL. Raises KeyError."""
    return {str(known): known for known in groups({})}[text]


def _choice(name: str) -> ChoiceField:
    field = definitions.field(Category.BUSINESS, name)
    assert isinstance(field, ChoiceField)
    return field


def _label(dimension: str, band: str) -> str:
    return dict(_choice(dimension).all_choices).get(band, band)


def last_bands(category: Category) -> dict[str, Band]:
    """Return the bands of all companies in the last release, by field. Flags compare answers with these."""
    release = releases.latest()
    if release is None:
        return {}
    figures = Figure.objects.filter(
        release=release, category=category, dimension="", withheld_by=None, p50__isnull=False
    )
    return {figure.field: band for figure in figures if (band := _band(figure))}


def _band(figure: Figure) -> Band | None:
    if figure.p25 is None or figure.p50 is None or figure.p75 is None:
        return None
    assert figure.as_of
    assert figure.companies_at_least
    return Band(
        p10=figure.p10,
        p25=figure.p25,
        p50=figure.p50,
        p75=figure.p75,
        p90=figure.p90,
        as_of=figure.as_of,
        companies_at_least=figure.companies_at_least,
        how_sure=releases.how_sure(figure),
    )


@dataclass(frozen=True)
class Share:
    """The percentage of companies that chose something, or None if the release does not publish it."""

    label: str
    percent: int | None
    is_own: bool


@dataclass(frozen=True)
class Result:
    """A field in the results: the member's answer and the release's figure. `place` and `change` are sentences.

    A number has a `band`, and a choice has `shares`. If both are missing, there are not enough answers yet.
    `group` names the companies that the figure is about, which may be several groups that were joined.
    """

    field: Field
    own: Decimal | str | None
    band: Band | None = None
    shares: Sequence[Share] = ()
    as_of: date | None = None
    companies_at_least: int | None = None
    how_sure: str = ""
    group: str = ""
    is_carried_over: bool = False
    place: str = ""
    change: str = ""

    @property
    def is_published(self) -> bool:
        return self.as_of is not None


@dataclass(frozen=True)
class Results:
    """A category's results for a member. `release_date` is None before the first release."""

    release_date: date | None
    results: Sequence[Result]


def of_category(*, category: Category, group: Group, own: Mapping[str, Decimal | str]) -> Results:
    """Compare a member's answers with the last release, for all companies or a group. Texts are left out."""
    newest, former = _last_two()
    figures = _figures(category, group, [release for release in (newest, former) if release])
    cut_off = newest.cut_off.date() if newest else None
    results = [
        _result(
            field,
            own.get(field.name),
            group,
            figures.get((newest.pk, field.name)) if newest else None,
            figures.get((former.pk, field.name)) if former else None,
            cut_off,
        )
        for field in definitions.FIELDS[category]
        if isinstance(field, NumberField | ChoiceField)
    ]
    return Results(cut_off, results)


def _last_two() -> tuple[Release | None, Release | None]:
    found = [*Release.objects.order_by("-month")[:2], None, None]
    return found[0], found[1]


def _figures(
    category: Category, group: Group, of_releases: Sequence[Release]
) -> dict[tuple[str, str], Figure]:
    """Find the published figures of a category and a group, by release and field, in one query."""
    is_about = (
        Q(dimension=group.dimension, bands__contains=[group.band]) if group.dimension else Q(dimension="")
    )
    found = Figure.objects.filter(is_about, release__in=of_releases, category=category, withheld_by=None)
    return {(figure.release_id, figure.field): figure for figure in found}


def _result(
    field: NumberField | ChoiceField,
    own: Decimal | str | None,
    group: Group,
    figure: Figure | None,
    former: Figure | None,
    cut_off: date | None,
) -> Result:
    if figure is None:
        return Result(field, own)
    band = _band(figure)
    return Result(
        field=field,
        own=own,
        band=band,
        shares=_shares(field, figure, own) if isinstance(field, ChoiceField) else (),
        as_of=figure.as_of,
        companies_at_least=figure.companies_at_least,
        how_sure=releases.how_sure(figure),
        group=", ".join(_label(figure.dimension, name) for name in figure.bands) if group.dimension else "",
        is_carried_over=figure.as_of != cut_off,
        place=place(own, band) if band and isinstance(own, Decimal) else "",
        change=_change(field, figure, former),
    )


def _shares(field: ChoiceField, figure: Figure, own: Decimal | str | None) -> list[Share]:
    shares = figure.shares or {}
    return [Share(label, shares.get(value), value == own) for value, label in field.all_choices]


def place(own: Decimal, band: Band) -> str:
    """Describe where a number is within a band."""
    marks = [
        (band.p10, "the lowest tenth"),
        (band.p25, "the lower quartile"),
        (band.p50, "the median"),
        (band.p75, "the upper quartile"),
        (band.p90, "the highest tenth"),
    ]
    known = [(Decimal(str(value)), name) for value, name in marks if value is not None]
    at = [name for value, name in known if value == own]
    if at:
        return f"At {'the median' if 'the median' in at else at[0]}"
    below = [name for value, name in known if value < own]
    above = [name for value, name in known if value > own]
    if not below:
        return f"Below {above[0]}"
    if not above:
        return f"Above {below[-1]}"
    return f"Between {below[-1]} and {above[0]}"


def _change(field: NumberField | ChoiceField, figure: Figure, former: Figure | None) -> str:
    """Describe how a figure changed since the release before. Returns "" for a new figure."""
    if former is None or former.bands != figure.bands:
        return ""
    if former.as_of == figure.as_of:
        return "Not updated: too few companies changed."
    if isinstance(field, ChoiceField):
        return "Unchanged." if former.shares == figure.shares else "Updated."
    if former.p50 is None or figure.p50 is None:
        return ""
    if former.p50 == figure.p50:
        return "The median is unchanged."
    direction = "up" if figure.p50 > former.p50 else "down"
    was, now = field.unit.show_short(former.p50), field.unit.show_short(figure.p50)
    return f"The median went {direction} from {was} to {now}."
