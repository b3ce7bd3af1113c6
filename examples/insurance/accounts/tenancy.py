"""Who may see what: for the application's own pages, and for the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest


def tenant_of_request(request: HttpRequest) -> str | None:
    """The insurer for whom somebody works: the tenant of what is recorded during the request.

    The request of a test's ``force_login`` has no user.
    """
    return getattr(getattr(request, "user", None), "tenant_id", None)


def tenants_of_user(user: Any) -> list[str] | None:
    """The insurers whose events a user may see; ``None`` for all."""
    if user.is_superuser or user.all_tenants:
        return None
    return [user.tenant_id] if user.tenant_id else []


class TenantViewMixin(LoginRequiredMixin):
    """A view of business rows: those of the user's insurers, and nobody else's."""

    request: HttpRequest

    def get_queryset(self) -> QuerySet[Model]:
        """The rows of the user's insurers."""
        rows: QuerySet[Model] = super().get_queryset()  # type: ignore[misc]
        return visible(rows, self.request.user)

    def own_tenant(self) -> str:
        """The insurer for whom the user enters new rows. Raises ``PermissionDenied`` if they work for none."""
        tenant = tenant_of_request(self.request)
        if tenant is None:
            raise PermissionDenied("You work for no insurer, so nothing can be entered in its name.")
        return tenant


class TenantAdminMixin:
    """The same in the admin: the rows, and what can be chosen for their relations."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows of the user's insurers."""
        return visible(super().get_queryset(request), request.user)  # type: ignore[misc]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """The choices of a relation, and of no other insurer."""
        related = db_field.related_model
        if (
            related._meta.label == "accounts.Tenant"
            and (tenants := tenants_of_user(request.user)) is not None
        ):
            kwargs["queryset"] = related.objects.filter(pk__in=tenants)
        elif any(field.name == "tenant" for field in related._meta.fields):
            kwargs["queryset"] = visible(related.objects.all(), request.user)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]


def visible(rows: QuerySet[Any], user: Any) -> QuerySet[Any]:
    """Those of ``rows`` that ``user`` may see."""
    tenants = tenants_of_user(user)
    return rows if tenants is None else rows.filter(tenant__in=tenants)
