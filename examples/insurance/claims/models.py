"""What the insured want to be paid, and the papers that show why."""

from __future__ import annotations

from pathlib import PurePosixPath

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from accounts.models import NumberSeries, TenantOwned, tenant_field
from policies.models import Policy


class Claim(TenantOwned):
    """A loss that a customer reported."""

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        IN_REVIEW = "in_review", "In review"
        SETTLED = "settled", "Settled"
        REJECTED = "rejected", "Rejected"

    number = models.CharField(max_length=20, unique=True, editable=False)
    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="claims")
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.OPEN)
    handler = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="claims"
    )
    reported_at = models.DateTimeField(default=timezone.now)
    settled_amount = models.DecimalField(max_digits=12, decimal_places=2, null=True, blank=True)
    description = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    tenant = tenant_field()

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.number

    def save(self, *args: object, **kwargs: object) -> None:
        """Save. A new claim gets the next number."""
        if not self.number:
            self.number = NumberSeries.next("C", first=61)
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def get_absolute_url(self) -> str:
        return reverse("claims:detail", args=[self.number])

    @property
    def is_closed(self) -> bool:
        """Whether it has been decided."""
        return self.status in (self.Status.SETTLED, self.Status.REJECTED)


class Document(TenantOwned):
    """A file that belongs to a claim."""

    class Kind(models.TextChoices):
        PHOTO = "photo", "Photo"
        INVOICE = "invoice", "Invoice"
        REPORT = "report", "Police report"
        LETTER = "letter", "Letter"

    claim = models.ForeignKey(Claim, on_delete=models.CASCADE, related_name="documents")
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.PHOTO)
    file = models.FileField(upload_to="claims/%Y/%m/")
    uploaded_at = models.DateTimeField(auto_now_add=True)
    tenant = tenant_field()

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.filename

    @property
    def filename(self) -> str:
        """The name that people know the file by."""
        return PurePosixPath(self.file.name or "").name
