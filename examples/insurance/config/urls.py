"""The project's addresses."""

from django.contrib import admin
from django.urls import include, path

from accounts.views import Home

admin.site.site_header = admin.site.site_title = "Policy Desk administration"

urlpatterns = [
    path("", Home.as_view(), name="home"),
    path("", include("accounts.urls")),
    path("customers/", include("customers.urls")),
    path("policies/", include("policies.urls")),
    path("claims/", include("claims.urls")),
    path("admin/", admin.site.urls),
    path("audit/", include("audit_django.urls")),
]
