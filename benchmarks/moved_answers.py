"""SQL for answers as they are counted: numbers are moved, and some choices replaced (disclosure.py says why).

The SQL is built from names, limits and choices in the definitions, and never from input.
"""

import hashlib
import hmac
from collections.abc import Sequence

from django.db import connection

from benchmarks import disclosure
from benchmarks.fields import ChoiceField, NumberField

# A member's draw: the first 8 bytes of an HMAC-SHA256 of the member's id.
MEMBER_DRAW = """
('x' || encode(substring(
  sha256((SELECT current_setting('benchmark.outer')::bytea)
         || sha256((SELECT current_setting('benchmark.inner')::bytea) || convert_to("memberId", 'UTF8')))
  FOR 8), 'hex'))::bit(64)::bigint"""


def step(number: NumberField) -> float:
    """Return how far even a small answer may be moved: 1 for whole numbers, otherwise 0.1."""
    return 0.1 if number.unit.decimals else 1.0


def quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def set_key(key: str) -> None:
    """Set the key for the transaction, prepared for HMAC in SQL, which only has SHA-256. Source: RFC 2104.

    This is a separate statement, so that the key is not part of a slow statement that the server would log.
    """
    secret = hmac.digest(key.encode(), b"answers", hashlib.sha256).ljust(64, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in secret) for pad in (0x36, 0x5C))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('benchmark.inner', %s, true), set_config('benchmark.outer', %s, true)",
            [f"\\x{inner.hex()}", f"\\x{outer.hex()}"],
        )


def _seed(name: str) -> int:
    """Return a constant number made from the field's name, so that the fields' draws differ."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _drawn(name: str) -> str:
    """Write SQL for a field's draw, from 0 up to 1: the member's draw, hashed by PostgreSQL to 64 bits."""
    return f"((hashint8extended(draw, {_seed(name)}) & 16777215) / 16777216::float8)"


def _number(number: NumberField, rules: disclosure.Rules) -> str:
    """Write SQL for a number as it is counted, from the column with the stored number."""
    value = quoted(number.name)
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


def literal(text: str) -> str:
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"


def _position(choice: ChoiceField) -> str:
    text = f"lower(btrim(regexp_replace(data ->> '{choice.name}', '[[:space:]]+', ' ', 'g')))"
    known: dict[str, int] = {}
    for position, (value, label) in enumerate(choice.all_choices, 1):
        known.setdefault(value.casefold(), position)
        known.setdefault(label.casefold(), position)
    cases = " ".join(f"WHEN {literal(name)} THEN {position}" for name, position in known.items())
    rest = f"WHEN '' THEN NULL ELSE {len(choice.all_choices)}" if choice.has_other else ""
    exact = " ".join(
        f"WHEN {literal(value)} THEN {position}" for position, (value, _) in enumerate(choice.all_choices, 1)
    )
    return (
        f"CASE data ->> '{choice.name}' WHEN NULL THEN NULL {exact} ELSE "
        f"CASE WHEN data ? '{choice.name}' THEN CASE {text} {cases} {rest} END END END"
    )


def _choice_counted(choice: ChoiceField, rules: disclosure.Rules) -> str:
    """Write SQL for the position of the choice under which an answer counts, from the column with the stored one."""
    chosen, many = quoted(choice.name), len(choice.all_choices)
    if not rules.other_choice:
        return f"{chosen}::float8"
    # The n-th of the other choices has position n, or n + 1 if it comes after the chosen one.
    other = f"1 + floor({_drawn(choice.name)} / {rules.other_choice} * {many - 1})::int"
    return (
        f"CASE WHEN {_drawn(choice.name)} >= {rules.other_choice} THEN {chosen} "
        f"ELSE {other} + ({other} >= {chosen})::int END::float8"
    )


def _expression(asked: NumberField | ChoiceField, rules: disclosure.Rules) -> str:
    return _number(asked, rules) if isinstance(asked, NumberField) else _choice_counted(asked, rules)


def answers(versions: str, asked: Sequence[NumberField | ChoiceField], rules: disclosure.Rules) -> str:
    """Write SQL that reads each stored answer of the versions once, and returns it as it is counted."""
    stored = ", ".join(f"{_read(one)} AS {quoted(one.name)}" for one in asked)
    counted = ", ".join(f"{_expression(one, rules)} AS {quoted(one.name)}" for one in asked)
    return f"""
SELECT version, company, place, {counted}
  FROM (SELECT version, company, place, {MEMBER_DRAW} AS draw, {stored}
          FROM ({versions}) AS versions
        OFFSET 0) AS stored"""
