"""Template filters for answers and figures."""

from decimal import Decimal

from django import template

from benchmarks.fields import Field, NumberField

register = template.Library()

SURENESS = {"sure": "Fairly sure.", "fair": "A rough guide.", "rough": "Very rough."}


@register.filter
def shown(field: Field, answer: Decimal | str) -> str:
    """Format an answer with its unit."""
    return field.show(answer)


@register.filter
def shown_short(field: Field, answer: Decimal | float | str) -> str:
    """Format an answer without its unit, except for the dollar sign."""
    return field.unit.show_short(answer) if isinstance(field, NumberField) else field.show(answer)  # type: ignore[arg-type]


@register.filter
def sureness(word: str) -> str:
    """Explain the rating that `how_sure` gave to a figure."""
    return SURENESS.get(word, "")
