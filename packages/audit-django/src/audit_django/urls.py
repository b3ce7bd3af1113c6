"""The timeline's addresses: ``path("audit/", include("audit_django.urls"))``."""

from django.urls import path

from audit_django.health import health
from audit_django.timeline import login, views

app_name = "audit"
urlpatterns = [
    path("", views.timeline, name="timeline"),
    path("news/", views.news, name="news"),
    path("hints/", views.hints, name="hints"),
    path("events/<uuid:event_id>/", views.event, name="event"),
    path("events/<uuid:event_id>.json", views.event_json, name="event-json"),
    path("objects/", views.objects, name="objects"),
    path("actors/", views.actors, name="actors"),
    path("health/", health, name="health"),
    path("login/", login.LoginView.as_view(), name="login"),
    path("logout/", login.LogoutView.as_view(), name="logout"),
]
