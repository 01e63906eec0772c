"""URLs of the members' pages about benchmarks."""

from django.urls import path, register_converter

from benchmarks import views
from benchmarks.definitions import Category


class CategoryConverter:
    """A category in a URL: its name in lower case."""

    regex = "|".join(category.value.lower() for category in Category)

    def to_python(self, value: str) -> Category:
        return Category(value.upper())

    def to_url(self, value: str) -> str:
        return value.lower()


register_converter(CategoryConverter, "category")

app_name = "benchmarks"

urlpatterns = [
    path("benchmarks/", views.overview, name="overview"),
    path("benchmarks/protection/", views.protection, name="protection"),
    path("benchmarks/<category:category>/", views.comparison, name="results"),
    path("benchmarks/<category:category>/answers/", views.answers, name="answers"),
    path("benchmarks/<category:category>/confirm/", views.confirm, name="confirm"),
    path("benchmarks/<category:category>/withdraw/", views.withdraw, name="withdraw"),
]
