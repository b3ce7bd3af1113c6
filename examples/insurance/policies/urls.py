"""The addresses of policies."""

from django.urls import path

from policies import views

app_name = "policies"
urlpatterns = [
    path("", views.PolicyList.as_view(), name="list"),
    path("new/", views.PolicyCreate.as_view(), name="create"),
    path("<str:number>/", views.PolicyDetail.as_view(), name="detail"),
    path("<str:number>/edit/", views.PolicyUpdate.as_view(), name="edit"),
    *(
        path(f"<str:number>/{name}/", views.PolicyDecision.as_view(decision=name), name=name)
        for name in views.DECISIONS
    ),
]
