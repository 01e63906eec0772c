"""URLs of the pages about points."""

from django.urls import path

from gamification import views

app_name = "gamification"

urlpatterns = [
    path("points/", views.overview, name="overview"),
    path("points/history/", views.history, name="history"),
    path("leaderboard/", views.leaderboard, name="leaderboard"),
    path("leaderboard/privacy/", views.privacy, name="privacy"),
]
