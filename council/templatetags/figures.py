"""Numbers as pages show them: with commas, and with a real minus sign."""

from django import template

register = template.Library()

MINUS = "\N{MINUS SIGN}"


@register.filter
def figure(number: int) -> str:
    return f"{number:,}".replace("-", MINUS)


@register.filter
def signed(number: int) -> str:
    """Show a change: with its sign, save for 0."""
    return f"{number:+,}".replace("-", MINUS) if number else "0"
