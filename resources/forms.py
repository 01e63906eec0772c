"""The form of the members' library page."""

from typing import Any

from django import forms
from django.forms.fields import CharField
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from council.forms import Form
from resources import library, search
from resources.library import Filters, Sort
from resources.models import MAX_SEARCH_LENGTH, Category, ResourceTag, Type

NO_WORDS = (
    "Your search has no words that we can search for. Enter at least one word that says what you need, such as "
    "“pricing”."
)


MAX_NAMED_TAGS = 5


class Select(forms.Select):
    """A select widget that is fast with hundreds of options. Django's renders a template for each option."""

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        widget = self.get_context(name, value, attrs)["widget"]
        options = [option for _, group, _ in widget["optgroups"] for option in group]
        return format_html(
            "<select name='{}'{}>{}</select>",
            widget["name"],
            flatatt(widget["attrs"]),
            format_html_join(
                "",
                "<option value='{}'{}>{}</option>",
                ((one["value"], flatatt(one["attrs"]), one["label"]) for one in options),
            ),
        )


class LibraryForm(Form):
    """The search and filters from the address of the library page. All of them are optional."""

    q = CharField(
        label="Search",
        max_length=MAX_SEARCH_LENGTH,
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "maxlength": None}),
        error_messages={
            "max_length": "Your search has %(show_value)d characters. Shorten it to at most %(limit_value)d."
        },
    )
    category = forms.ChoiceField(
        choices=[("", "All categories"), *Category.choices], required=False, widget=Select
    )
    type = forms.ChoiceField(choices=[("", "All types"), *Type.choices], required=False, widget=Select)
    tag = forms.ChoiceField(required=False, widget=Select)
    sort = forms.ChoiceField(label="Order", choices=Sort.choices, required=False, widget=Select)
    featured = forms.BooleanField(label="Featured only", required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tags = library.tags_in_use()
        field: Any = self.fields["tag"]
        field.choices = [("", "All tags"), *((tag.slug, tag.name) for tag in self.tags)]

    def clean_q(self) -> str:
        words: str = self.cleaned_data["q"]
        if words and not search.has_words(words):
            raise forms.ValidationError(NO_WORDS, code="no_words")
        return words

    def named_tags(self) -> list[ResourceTag]:
        """List tags whose names contain the searched words, because the search itself does not look at tags."""
        return [tag for tag in self.tags if self._names(tag.name)][:MAX_NAMED_TAGS]

    def named_categories(self) -> list[tuple[str, str]]:
        """List categories, as value and label, whose labels contain the searched words, for the same reason."""
        return [(value, label) for value, label in Category.choices if self._names(label)]

    def _names(self, label: str) -> bool:
        words = " ".join(self.cleaned_data["q"].casefold().split())
        return bool(words) and words in label.casefold()

    def filters(self) -> Filters:
        """Return the filters of a valid form."""
        given = self.cleaned_data
        return Filters(
            words=given["q"],
            category=given["category"],
            type=given["type"],
            tag=given["tag"],
            is_featured=given["featured"],
            sort=Sort(given["sort"] or Sort.NEWEST),
        )
