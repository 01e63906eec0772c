"""Where the library's pages are."""

from django.urls import path, re_path

from resources import files

app_name = "resources"
urlpatterns = [
    path("library/file/<str:token>/", files.file, name="file"),
    re_path(r"^library/thumbnail/(?P<name>[0-9a-f]{32}\.webp)$", files.thumbnail, name="thumbnail"),
]
