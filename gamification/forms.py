"""Forms for staff about points."""

import uuid

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget

from council.model_admin import MultilineField
from gamification import ledger


class ReasonForm(forms.Form):
    reason = MultilineField(
        min_length=ledger.MIN_REASON_LENGTH,
        max_length=ledger.MAX_REASON_LENGTH,
        help_text="The member sees it in their history.",
    )


class AdjustPointsForm(ReasonForm):
    form_key = forms.UUIDField(initial=uuid.uuid4, widget=forms.HiddenInput)
    points = forms.IntegerField(
        min_value=-ledger.MAX_TOTAL - 1,
        max_value=ledger.MAX_TOTAL,
        widget=AdminIntegerFieldWidget,
        help_text="A whole number. A negative number takes points away.",
    )
    field_order = ("points", "reason")

    def clean_points(self) -> int:
        points: int = self.cleaned_data["points"]
        if points == 0:
            raise forms.ValidationError("0 points change nothing. Give or take at least 1.")
        return points
