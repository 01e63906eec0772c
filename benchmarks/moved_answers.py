"""SQL for answers as they are counted: numbers moved, choices now and then another (disclosure.py says why).

It is made of names, limits and choices out of the definitions, and of nothing that anybody typed.
"""

import hashlib
import hmac
from collections.abc import Sequence

from django.db import connection

from benchmarks import disclosure
from benchmarks.definitions import ChoiceField, NumberField

# A member's draw: the first 8 bytes of an HMAC-SHA256 of the member's id.
MEMBER_DRAW = """
('x' || encode(substring(
  sha256((SELECT current_setting('benchmark.outer')::bytea)
         || sha256((SELECT current_setting('benchmark.inner')::bytea) || convert_to("memberId", 'UTF8')))
  FOR 8), 'hex'))::bit(64)::bigint"""


def step(number: NumberField) -> float:
    """Say by how much an answer is moved at least: by one where things are counted."""
    return 0.1 if number.unit.decimals else 1.0


def quoted(name: str) -> str:
    return connection.ops.quote_name(name)


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
    """Write SQL for the position of the choice under which an answer is counted, from the true one's column."""
    chosen, many = quoted(choice.name), len(choice.all_choices)
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


def answers(versions: str, asked: Sequence[NumberField | ChoiceField], rules: disclosure.Rules) -> str:
    """Write SQL that reads versions: each stored answer once, and then as it is counted."""
    stored = ", ".join(f"{_read(one)} AS {quoted(one.name)}" for one in asked)
    counted = ", ".join(f"{_expression(one, rules)} AS {quoted(one.name)}" for one in asked)
    return f"""
SELECT version, company, place, {counted}
  FROM (SELECT version, company, place, {MEMBER_DRAW} AS draw, {stored}
          FROM ({versions}) AS versions
        OFFSET 0) AS stored"""
