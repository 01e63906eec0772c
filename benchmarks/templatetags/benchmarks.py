"""Answers and figures as pages show them."""

from decimal import Decimal

from django import template

from benchmarks.definitions import Field, NumberField

register = template.Library()

SURENESS = {"sure": "Fairly sure.", "fair": "A rough guide.", "rough": "Very rough."}


@register.filter
def shown(field: Field, answer: Decimal | str) -> str:
    """Write an answer with its unit."""
    return field.show(answer)


@register.filter
def shown_short(field: Field, answer: Decimal | float | str) -> str:
    """Write an answer without the words of its unit."""
    return field.unit.show_short(answer) if isinstance(field, NumberField) else field.show(answer)  # type: ignore[arg-type]


@register.filter
def sureness(word: str) -> str:
    """Say what `how_sure` of a figure means."""
    return SURENESS.get(word, "")
