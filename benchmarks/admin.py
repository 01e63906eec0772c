"""The admin page of benchmark answers: without the member, by name or by id."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from benchmarks.answers import BenchmarkSubmission
from council.model_admin import ReadOnlyAdmin, pretty


@admin.register(BenchmarkSubmission)
class BenchmarkSubmissionAdmin(ReadOnlyAdmin):
    list_display = ("id", "category", "submitted_at", "is_valid")
    list_filter = ("category", "is_valid", "submitted_at")
    ordering = ("-submitted_at",)
    fields = ("id", "category", "submitted_at", "updated_at", "is_valid", "answers")
    secret_fields = ("member", "member_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[BenchmarkSubmission]:
        return super().get_queryset(request).defer("member", "data")

    @admin.display
    def answers(self, submission: BenchmarkSubmission) -> str | None:
        if not isinstance(submission.data, dict):
            return pretty(submission.data)
        rows = format_html_join(
            "", '<tr><th scope="row">{}</th><td>{}</td></tr>', sorted(submission.data.items())
        )
        return format_html(
            '<table><thead><tr><th scope="col">Field</th><th scope="col">Answer</th></tr></thead>'
            "<tbody>{}</tbody></table>",
            rows,
        )
