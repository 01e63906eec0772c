"""The members' form for a category, made from the category's definitions."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict

from benchmarks import definitions, submissions, written
from benchmarks.definitions import Category
from benchmarks.fields import ChoiceField, Field, NumberField
from benchmarks.submissions import Submission
from council.forms import Form

NO_ANSWER = ("", "No answer")
# The fields that a browser sends in addition to the answers.
BESIDE = {"csrfmiddlewaretoken", "shown"}


class AnswersForm(Form):
    """A member's answers in a category. Once the form is valid, `answers` has what they sent.

    The typed text stays in its box, even if it is invalid. `shown` is the number of the submission that the form was
    filled with, so that a change made elsewhere in the meantime is not overwritten.
    """

    answers: dict[str, Any]
    shown = forms.IntegerField(widget=forms.HiddenInput, min_value=0, max_value=2**31 - 1)

    def __init__(
        self, category: Category, data: QueryDict | None = None, *, submission: Submission | None = None
    ) -> None:
        self.category = category
        super().__init__(data, initial=_initial(submission))
        for asked in definitions.FIELDS[category]:
            self.fields[asked.name] = _box(asked)
            if isinstance(asked, ChoiceField) and asked.has_other:
                self.fields[asked.other_name] = _box_for_other(asked)

    def sections(self) -> list[tuple[str, list[forms.BoundField]]]:
        """List the headings, each with its fields."""
        found: dict[str, list[forms.BoundField]] = {}
        for asked in definitions.FIELDS[self.category]:
            fields = found.setdefault(asked.section, [])
            fields.append(self[asked.name])
            if isinstance(asked, ChoiceField) and asked.has_other:
                fields.append(self[asked.other_name])
        return list(found.items())

    def with_shown(self, number: int) -> "AnswersForm":
        """Return a form with the same input, but with another `shown`."""
        data = QueryDict(mutable=True)
        for name in self.data:
            data[name] = self.data[name]
        data["shown"] = str(number)
        return AnswersForm(self.category, data)

    def clean(self) -> dict[str, Any]:
        answers = {name: value for name, value in self.cleaned_data.items() if name != "shown"}
        for asked in definitions.number_fields(self.category):
            answers[asked.name] = self._number(asked, answers.get(asked.name, ""))
        answers |= {
            name: self.data[name] for name in self.data if name not in self.fields and name not in BESIDE
        }
        self._refuse_duplicates()
        try:
            submissions.check(category=self.category, answers=answers)
        except submissions.Invalid as error:
            for name, fault in error.faults.items():
                if name not in self.errors:
                    self.add_error(name or None, fault)
        self.answers = answers
        return self.cleaned_data

    def _number(self, asked: NumberField, text: str) -> Decimal | None:
        if not text.strip():
            return None
        try:
            return written.number(text, field=asked)
        except written.Unclear as error:
            self.add_error(asked.name, str(error))
            return None

    def _refuse_duplicates(self) -> None:
        data = self.data
        twice = [name for name in data if isinstance(data, QueryDict) and len(data.getlist(name)) > 1]
        for name in twice:
            if name in self.fields:
                self.add_error(None if name == "shown" else name, "This was sent twice. Send it once.")


def _box(asked: Field) -> forms.Field:
    field: forms.Field
    if isinstance(asked, ChoiceField):
        field = forms.CharField(widget=forms.Select(choices=[NO_ANSWER, *asked.all_choices]))
    elif isinstance(asked, NumberField):
        mode = "decimal" if asked.minimum >= 0 else "text"  # a phone's decimal keypad has no minus sign
        field = forms.CharField(
            strip=False, widget=forms.TextInput(attrs={"inputmode": mode, "autocomplete": "off"})
        )
    else:
        field = forms.CharField(strip=False, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    field.required, field.label, field.help_text = False, asked.label, asked.help
    field.asked = asked  # type: ignore[attr-defined]  # for the template
    return field


def _box_for_other(asked: ChoiceField) -> forms.Field:
    field = forms.CharField(
        required=False,
        strip=False,
        label=f"{asked.label}, if other",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    field.is_other = True  # type: ignore[attr-defined]  # for the template
    return field


def _initial(submission: Submission | None) -> Mapping[str, Any]:
    if submission is None:
        return {"shown": 0}
    shown = {
        name: written.show(answer) if isinstance(answer, Decimal) else answer
        for name, answer in submission.answers.items()
    }
    return {**shown, **submission.others, "shown": submission.number}
