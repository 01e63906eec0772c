"""The library's parts of the home page: new resources, and recommendations."""

from django.urls import reverse

from council import home
from resources import library


@home.part("recommended", template="resources/_home.html", place=4, is_wide=True)
def _recommended(visit: home.Visit) -> home.Content:
    return {"recommended": library.recommended(member=visit.member)}


@home.news("Resources")
def _resources(visit: home.Visit) -> home.News:
    found = library.shown_since(visit.since, rows=home.NEWS_ROWS + 1)
    items = [
        home.Item(
            resource.title,
            resource.get_absolute_url(),
            f"{resource.get_category_display()} · {resource.get_type_display()}",
        )
        for resource in found[: home.NEWS_ROWS]
    ]
    is_cut_off = len(found) > len(items)
    return home.News(items, "More in the library" if is_cut_off else "", reverse("resources:library"))
