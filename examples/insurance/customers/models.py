"""The insured."""

from __future__ import annotations

from django.db import models
from django.urls import reverse

from accounts.models import TenantOwned, tenant_field


class Customer(TenantOwned):
    """A person who has, had or wants a policy."""

    name = models.CharField(max_length=120)
    email = models.EmailField(blank=True)
    phone = models.CharField("phone number", max_length=40, blank=True)
    birth_date = models.DateField(null=True, blank=True)
    ssn = models.CharField("social security number", max_length=20, blank=True)
    is_active = models.BooleanField("active", default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    tenant = tenant_field()

    class Meta:
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("customers:detail", args=[self.pk])


def no_preferences() -> dict[str, object]:
    """What a customer prefers before they have said anything."""
    return {"language": "en", "newsletter": False, "contact": "email"}


class CustomerProfile(TenantOwned):
    """What is known of a customer beyond the contract."""

    customer = models.OneToOneField(Customer, on_delete=models.CASCADE, related_name="profile")
    address = models.CharField(max_length=200, blank=True)
    city = models.CharField(max_length=80, blank=True)
    preferences = models.JSONField(default=no_preferences)
    tenant = tenant_field()

    class Meta:
        verbose_name = "profile"

    def __str__(self) -> str:
        return f"profile of {self.customer.name}"
