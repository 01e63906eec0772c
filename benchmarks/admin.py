"""Admin pages where staff review benchmark answers. They never show or search the member, the company or the day.

All pages are custom. Django's pages for the model's rows are not used, so that no query string can filter them.
"""

import uuid
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from benchmarks import chart, definitions, review, written
from benchmarks.definitions import Category
from benchmarks.fields import MAX_TEXT_LENGTH, OTHER, ChoiceField, Field, NumberField
from benchmarks.models import BenchmarkReview, State
from council.accounts.models import Account
from council.model_admin import MultilineField, NeverDeleted

LIST = "admin:benchmarks_benchmarkreview_changelist"
# In the order of the tabs.
STATES = (State.FLAGGED, State.RECEIVED, State.REJECTED)


class DecisionForm(forms.Form):
    """The versions to decide about, and a reason. If the answers are rejected, the member reads the reason."""

    number = forms.TypedMultipleChoiceField(coerce=uuid.UUID, widget=forms.MultipleHiddenInput)
    reason = MultilineField(
        required=False,
        max_length=review.MAX_REASON_LENGTH,
        help_text="Required to reject: the member reads it. Do not write whose answers you think they are.",
    )


class CountForm(forms.Form):
    """A question, and the exact answer that is counted."""

    question = forms.ChoiceField(
        choices=[
            (
                category.label,
                [(f"{category.value}.{field.name}", field.label) for field in definitions.FIELDS[category]],
            )
            for category in Category
        ]
    )
    answer = forms.CharField(max_length=MAX_TEXT_LENGTH)

    def clean(self) -> dict[str, Any]:
        given = self.cleaned_data
        if self.errors:
            return given
        category, _, name = given["question"].partition(".")
        given["category"], given["field"] = Category(category), definitions.field(Category(category), name)
        try:
            given["stored"] = _stored(given["field"], given["answer"])
        except (written.Unclear, ValueError) as error:
            self.add_error("answer", str(error))
        return given


def _stored(field: Field, text: str) -> Any:
    """Convert an answer to its stored form. Raises ValueError."""
    if isinstance(field, NumberField):
        number = written.number(text, field=field)
        return int(number) if number == number.to_integral_value() else float(number)
    if isinstance(field, ChoiceField):
        choice = field.read({field.name: text})
        if choice is None or (choice == OTHER and text.casefold() != OTHER):
            raise ValueError(
                f"{text!r} is not on the list: {', '.join(label for _, label in field.all_choices)}."
            )
        return choice
    return text


@admin.register(BenchmarkReview)
class BenchmarkReviewAdmin(NeverDeleted, admin.ModelAdmin):
    """The review pages. The view permission lets staff see answers, the add permission lets them decide."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "benchmarks_benchmarkreview"
        return [
            path("", view(self.queue), name=f"{name}_changelist"),
            path("answers/", view(self.several), name=f"{name}_several"),
            path("answers/<uuid:number>/", view(self.one), name=f"{name}_change"),
            path("decisions/", view(self.decisions), name=f"{name}_decisions"),
            path("count/", view(self.count), name=f"{name}_count"),
        ]

    def may_decide(self, request: HttpRequest) -> bool:
        return request.user.has_perm("benchmarks.add_benchmarkreview")

    def _respond(self, request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
        request.current_app = self.admin_site.name
        everywhere = {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": self.opts,
            "may_decide": self.may_decide(request),
        }
        return TemplateResponse(request, f"benchmarks/review/{template}.html", {**everywhere, **context})

    def _check(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def queue(self, request: HttpRequest) -> HttpResponse:
        """List the current answers that have a state, by default the flagged ones."""
        self._check(request)
        asked, page = request.GET.get("state", State.FLAGGED.value), request.GET.get("page", "1")
        if (
            asked not in State
            or not page.isascii()
            or not page.isdecimal()
            or not 0 < int(page[:9]) <= 10_000
        ):
            raise Http404("There is no such list.")
        entries, has_more = review.queue(state=State(asked), page=int(page))
        return self._respond(
            request,
            "queue",
            "Benchmark answers",
            entries=entries,
            state=State(asked),
            states=STATES,
            page=int(page),
            next_page=int(page) + 1 if has_more else None,
        )

    def one(self, request: HttpRequest, number: uuid.UUID) -> HttpResponse:
        """Show an answer."""
        self._check(request)
        if request.method not in {"GET", "HEAD"}:
            return redirect("admin:benchmarks_benchmarkreview_change", number)
        return self._show(request, [number], DecisionForm())

    def several(self, request: HttpRequest) -> HttpResponse:
        """Show the chosen answers, or decide about them."""
        self._check(request)
        if request.method != "POST":
            return redirect(LIST)
        try:
            numbers = [uuid.UUID(text) for text in request.POST.getlist("number")]
        except ValueError as error:
            raise Http404("There is no such answer.") from error
        if not numbers:
            self.message_user(request, "Choose at least one answer.", messages.WARNING)
            return redirect(LIST)
        decide = {"publish": review.publish, "reject": review.reject}.get(request.POST.get("decision", ""))
        form = DecisionForm(request.POST if decide else None)
        if decide is None:
            return self._show(request, numbers, form)
        if not self.may_decide(request):
            raise PermissionDenied
        form.fields["number"].choices = [(str(number), "") for number in numbers]  # type: ignore[attr-defined]
        if form.is_valid():
            try:
                decided = decide(
                    numbers=numbers,
                    reason=form.cleaned_data["reason"],
                    reviewer=cast(Account, request.user),
                )
            except review.Refused as error:
                form.add_error(None, str(error))
            else:
                what = "published" if decide is review.publish else "rejected"
                self.message_user(
                    request, f"{decided} answer{'' if decided == 1 else 's'} {what}.", messages.SUCCESS
                )
                return redirect(LIST)
        return self._show(request, numbers, form)

    def _show(self, request: HttpRequest, numbers: list[uuid.UUID], form: DecisionForm) -> HttpResponse:
        try:
            looks = review.look(numbers=numbers, viewer=cast(Account, request.user))
        except review.Refused as error:
            self.message_user(request, str(error), messages.ERROR)
            return redirect(LIST)
        if not looks:
            raise Http404("These answers no longer exist.")
        return self._respond(
            request,
            "answers",
            "Review benchmark answers",
            looks=[(look, [(line, _chart(line)) for line in look.lines]) for look in looks],
            form=form,
            is_open=any(look.is_current for look in looks),
        )

    def decisions(self, request: HttpRequest) -> HttpResponse:
        """List staff's decisions, newest first."""
        self._check(request)
        return self._respond(
            request, "decisions", "Decisions about benchmark answers", decisions=review.decisions()
        )

    def count(self, request: HttpRequest) -> HttpResponse:
        """Count the submissions with an exact answer, since copies and made-up numbers occur several times."""
        self._check(request)
        form, found = CountForm(request.POST if request.method == "POST" else None), None
        if form.is_valid():
            given = form.cleaned_data
            found = review.count(
                category=given["category"],
                field=given["field"],
                answer=given["stored"],
                viewer=cast(Account, request.user),
            )
        return self._respond(request, "count", "Count exact answers", form=form, found=found)


def _chart(line: review.Line) -> chart.Chart | None:
    if line.band is None or not isinstance(line.field, NumberField):
        return None
    return chart.draw(field=line.field, band=line.band, own=cast(Any, line.answer), whose="This answer")
