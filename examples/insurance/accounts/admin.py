"""Users and insurers in the admin."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from accounts.models import Tenant, User


@admin.register(User)
class PersonAdmin(UserAdmin):
    """Django's own, with the insurer."""

    list_display = ("username", "first_name", "last_name", "tenant", "is_active", "is_staff")
    list_filter = ("tenant", "is_active", "groups")
    fieldsets = (*UserAdmin.fieldsets, ("Insurer", {"fields": ("tenant", "all_tenants")}))


@admin.register(Tenant)
class TenantAdmin(admin.ModelAdmin):
    """Insurers."""

    list_display = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}  # noqa: RUF012
