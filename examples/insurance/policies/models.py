"""Contracts."""

from __future__ import annotations

from decimal import Decimal

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse

from accounts.models import NumberSeries, TenantOwned, tenant_field
from customers.models import Customer


class RiskClass(models.Model):
    """A kind of risk, and what it adds to the premium."""

    code = models.CharField(max_length=10, unique=True)
    name = models.CharField(max_length=80)
    factor = models.DecimalField(max_digits=5, decimal_places=3, default=Decimal("1.000"))

    class Meta:
        ordering = ("code",)
        verbose_name_plural = "risk classes"

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class Tag(models.Model):
    """A word by which people find policies again."""

    name = models.CharField(max_length=40, unique=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Policy(TenantOwned):
    """A contract with a customer."""

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        PENDING = "pending", "Pending"
        APPROVED = "approved", "Approved"
        EXPIRED = "expired", "Expired"
        CANCELED = "canceled", "Canceled"

    number = models.CharField(max_length=20, unique=True, editable=False)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="policies")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="policies"
    )
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.DRAFT)
    premium = models.DecimalField(
        max_digits=10, decimal_places=2, validators=[MinValueValidator(Decimal("0.01"))]
    )
    valid_from = models.DateField(null=True, blank=True)
    valid_until = models.DateField("valid until date", null=True, blank=True)
    coverage = models.JSONField(default=dict)
    risk_classes = models.ManyToManyField(RiskClass, blank=True, related_name="policies")
    tags = models.ManyToManyField(Tag, blank=True, related_name="policies")
    notes = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    tenant = tenant_field()

    class Meta:
        ordering = ("-pk",)
        verbose_name_plural = "policies"
        permissions = (("approve_policy", "Can approve policies"),)

    def __str__(self) -> str:
        return self.number

    def save(self, *args: object, **kwargs: object) -> None:
        """Save. A new policy gets the next number."""
        if not self.number:
            self.number = NumberSeries.next("P", first=1001)
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def get_absolute_url(self) -> str:
        return reverse("policies:detail", args=[self.number])
