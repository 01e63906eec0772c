"""The URLs of the library."""

from django.urls import path, re_path

from resources import files, views

app_name = "resources"
urlpatterns = [
    path("library/", views.index, name="library"),
    path("library/downloads/", views.downloaded, name="downloads"),
    path("library/file/<str:token>/", files.file, name="file"),
    re_path(r"^library/thumbnail/(?P<name>[0-9a-f]{32}\.webp)$", files.thumbnail, name="thumbnail"),
    path("library/<str:resource_id>/", views.resource, name="resource"),
    path("library/<str:resource_id>/download/", views.download, name="download"),
]
