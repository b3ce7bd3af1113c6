"""Customers in the admin."""

from django.contrib import admin

from accounts.tenancy import TenantAdminMixin
from customers.models import Customer, CustomerProfile


class ProfileInline(TenantAdminMixin, admin.StackedInline):
    """The profile, on the customer's page."""

    model = CustomerProfile


@admin.register(Customer)
class CustomerAdmin(TenantAdminMixin, admin.ModelAdmin):
    """Customers."""

    list_display = ("name", "tenant", "email", "is_active")
    list_filter = ("tenant", "is_active")
    search_fields = ("name", "email")
    inlines = (ProfileInline,)
