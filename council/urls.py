"""The URLs of the site. Every page is only for members, unless its view says otherwise (council/access.py)."""

from django.contrib import admin
from django.urls import include, path

from council import views

pages = [
    path("", views.home, name="home"),
    path("sign-in/", views.sign_in, name="sign-in"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path(".well-known/security.txt", views.security_txt, name="security-txt"),
    path("sessions/", views.own_sessions, name="sessions"),
    path("membership/", views.membership, name="membership"),
]

handler500 = views.server_error
urlpatterns = [
    path("", include((pages, "council"))),
    path("", include("gamification.urls")),
    path("", include("benchmarks.urls")),
    path("", include("resources.urls")),
    path("admin/", admin.site.urls),
]
