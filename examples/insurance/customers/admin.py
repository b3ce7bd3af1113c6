"""Customers in the admin."""

from django.contrib import admin

from customers.models import Customer, CustomerProfile


class ProfileInline(admin.StackedInline):
    """The profile, on the customer's page."""

    model = CustomerProfile


@admin.register(Customer)
class CustomerAdmin(admin.ModelAdmin):
    """Customers."""

    list_display = ("name", "tenant", "email", "is_active")
    list_filter = ("tenant", "is_active")
    search_fields = ("name", "email")
    inlines = (ProfileInline,)
