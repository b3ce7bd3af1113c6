"""The addresses of claims."""

from django.urls import path

from claims import views

app_name = "claims"
urlpatterns = [
    path("", views.ClaimList.as_view(), name="list"),
    path("new/<str:policy>/", views.ClaimCreate.as_view(), name="create"),
    path("documents/<int:pk>/", views.DocumentDownload.as_view(), name="document"),
    path("<str:number>/", views.ClaimDetail.as_view(), name="detail"),
    path("<str:number>/edit/", views.ClaimUpdate.as_view(), name="edit"),
    path("<str:number>/settle/", views.ClaimSettle.as_view(), name="settle"),
    path("<str:number>/delete/", views.ClaimDelete.as_view(), name="delete"),
    path("<str:number>/documents/", views.DocumentCreate.as_view(), name="upload"),
]
