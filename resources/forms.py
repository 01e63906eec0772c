"""The forms of the members' pages."""

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
    "There is nothing to search for in this. Enter at least one word that says what you are looking for, such as "
    "“pricing”."
)


MAX_NAMED_TAGS = 5


class Select(forms.Select):
    """A list of choices, of which there may be hundreds. Django renders a template for each, which takes as long as
    all the rest of the page."""

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
    """What a member looks for in the library, from the address of the page. All of it may be left out."""

    q = CharField(
        label="Search",
        max_length=MAX_SEARCH_LENGTH,
        required=False,
        widget=forms.TextInput(attrs={"type": "search", "maxlength": None}),
        error_messages={
            "max_length": "Your search has %(show_value)d characters, and may have %(limit_value)d. Shorten it."
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
        """The tags that the search names, whole or in part: the texts that are searched do not hold them."""
        words = self.cleaned_data["q"].casefold()
        return [tag for tag in self.tags if words and words in tag.name.casefold()][:MAX_NAMED_TAGS]

    def filters(self) -> Filters:
        """What the form asks for, once it is valid."""
        given = self.cleaned_data
        return Filters(
            words=given["q"],
            category=given["category"],
            type=given["type"],
            tag=given["tag"],
            is_featured=given["featured"],
            sort=Sort(given["sort"] or Sort.NEWEST),
        )
