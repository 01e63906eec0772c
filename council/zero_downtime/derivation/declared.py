"""Compares the enums and functions that the code declares, which are not in migration state, with the migrations."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from django.apps import apps
from django.contrib.postgres.fields import ArrayField

from council.postgres.fields import EnumField
from council.postgres.functions import Function
from council.zero_downtime.derivation.history import History
from council.zero_downtime.derivation.safety import Refusal
from council.zero_downtime.operations import AddEnumValue, CreateEnum
from council.zero_downtime.trigger_operations import CreateFunction, RemoveFunction, ReplaceFunction


class EnumUse(NamedTuple):
    app_label: str
    model_name: str
    field_name: str
    labels: tuple[str, ...]


def enum_uses() -> dict[str, list[EnumUse]]:
    """Return the fields that use each enum, in the order of apps and models."""
    uses: dict[str, list[EnumUse]] = {}
    for model in apps.get_models():
        for field in model._meta.local_fields:
            of_one = field.base_field if isinstance(field, ArrayField) else field
            if isinstance(of_one, EnumField):
                labels = tuple(str(label) for label, _ in of_one.flatchoices)
                use = EnumUse(model._meta.app_label, str(model._meta.model_name), field.name, labels)
                uses.setdefault(of_one.enum, []).append(use)
    return uses


def _labels(uses: list[EnumUse]) -> tuple[str, ...]:
    """Return an enum's labels, from its first field that has choices."""
    return next((use.labels for use in uses if use.labels), ())


def new_enums(history: History) -> Iterator[tuple[list[EnumUse], CreateEnum]]:
    """Yield the enums that no migration creates, with the fields that use them."""
    for name, uses in enum_uses().items():
        if name not in history.enums:
            labels = _labels(uses)
            yield uses, CreateEnum(name=name, labels=list(labels))


def new_labels(history: History) -> Iterator[tuple[str, AddEnumValue]]:
    """Yield the labels in choices that no migration creates, with the app that created the enum."""
    for name, uses in enum_uses().items():
        known = history.enums.get(name)
        labels = _labels(uses)
        if known and labels:
            for place, label in enumerate(labels):
                if label not in known.labels:
                    after = labels[place - 1] if place else None
                    yield known.app_label, AddEnumValue(name=name, label=label, after=after)


def refused_enums(history: History) -> Iterator[Refusal]:
    for name, uses in enum_uses().items():
        use = uses[0]
        known = history.enums.get(name)
        labels = _labels(uses)
        if not labels:
            if not known:
                yield Refusal(
                    use.app_label,
                    f"The enum {name} of {use.model_name}.{use.field_name} has no labels.",
                    "Give the field choices.",
                )
            continue
        if not known:
            continue
        if gone := [label for label in known.labels if label not in labels]:
            yield Refusal(
                use.app_label,
                f"The choices no longer have {', '.join(gone)} of the enum {name}, "
                f"and PostgreSQL cannot remove a label.",
                "Keep it in the choices, and reject it in forms and checks.",
            )
        elif [label for label in labels if label in known.labels] != list(known.labels):
            yield Refusal(
                use.app_label,
                f"The labels of the enum {name} are in the order {', '.join(known.labels)}. The choices have another "
                f"order, and PostgreSQL cannot change the order of labels.",
                "Use the same order in the choices.",
            )


def functions(history: History, *, drops: bool) -> Iterator[tuple[str, CreateFunction | Refusal]]:
    """Yield the operation or refusal for each function that was added, changed or removed."""
    given: dict[tuple[str, str], Function] = {}
    for config in apps.get_app_configs():
        for function in getattr(config, "functions", ()):
            given[function.name, function.arguments] = function
            known = history.functions.get((function.name, function.arguments))
            if known is None:
                yield config.label, CreateFunction(*function)
            elif known.definition != function.definition:
                if _returns(known.definition) == _returns(function.definition):
                    name, arguments, definition = function
                    yield config.label, ReplaceFunction(name, arguments, definition, known.definition)
                else:
                    yield (
                        config.label,
                        Refusal(
                            config.label,
                            f"{function.name}({function.arguments}) returns {_returns(known.definition)} and would "
                            f"return {_returns(function.definition)}. PostgreSQL can change that only by dropping the "
                            "function, although code may call it.",
                            "Give the new function another name, and remove the old one when nothing calls it any "
                            "more.",
                        ),
                    )
    for (name, arguments), known in history.functions.items():
        if (name, arguments) in given or known.app_label not in apps.app_configs:
            continue
        if drops:
            yield known.app_label, RemoveFunction(name, arguments, known.definition)
        else:
            yield (
                known.app_label,
                Refusal(
                    known.app_label,
                    f"{name}({arguments}) is no longer declared, but running code may still call it.",
                    "When no running process calls it any more, drop it with `makemigrations --drop`.",
                ),
            )


def _returns(definition: str) -> str:
    """Return a function's return type: the text between RETURNS and LANGUAGE."""
    match = re.search(r"RETURNS\s+(.*?)\s+LANGUAGE\b", definition, re.DOTALL | re.IGNORECASE)
    return " ".join(match[1].split()) if match else ""
