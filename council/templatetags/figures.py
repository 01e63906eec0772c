"""Template filters that format numbers with commas and a real minus sign."""

from django import template

register = template.Library()

MINUS = "\N{MINUS SIGN}"


@register.filter
def figure(number: int) -> str:
    return f"{number:,}".replace("-", MINUS)


@register.filter
def signed(number: int) -> str:
    """Format a change with its sign. 0 has no sign."""
    return f"{number:+,}".replace("-", MINUS) if number else "0"
