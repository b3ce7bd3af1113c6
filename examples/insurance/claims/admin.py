"""Claims in the admin."""

from django.contrib import admin

from accounts.tenancy import TenantAdminMixin
from claims.models import Claim, Document


class DocumentInline(TenantAdminMixin, admin.TabularInline):
    """The documents, on the claim's page."""

    model = Document
    extra = 0


@admin.register(Claim)
class ClaimAdmin(TenantAdminMixin, admin.ModelAdmin):
    """Claims."""

    list_display = ("number", "tenant", "policy", "status", "handler", "settled_amount")
    list_filter = ("tenant", "status")
    search_fields = ("number", "policy__number")
    readonly_fields = ("number",)
    inlines = (DocumentInline,)
