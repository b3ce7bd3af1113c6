"""Policies in the admin."""

from django.contrib import admin

from accounts.tenancy import TenantAdminMixin
from policies.models import Policy, RiskClass, Tag


@admin.register(Policy)
class PolicyAdmin(TenantAdminMixin, admin.ModelAdmin):
    """Policies."""

    list_display = ("number", "tenant", "customer", "status", "premium", "owner")
    list_filter = ("tenant", "status")
    search_fields = ("number", "customer__name")
    filter_horizontal = ("risk_classes", "tags")
    readonly_fields = ("number",)


@admin.register(RiskClass)
class RiskClassAdmin(admin.ModelAdmin):
    """Risk classes."""

    list_display = ("code", "name", "factor")


@admin.register(Tag)
class TagAdmin(admin.ModelAdmin):
    """Tags."""
