"""Who uses the application, and for which insurer."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.db import models, transaction


class Tenant(models.Model):
    """An insurer: its customers, policies and claims are seen by its own people only."""

    slug = models.SlugField(primary_key=True, max_length=50)
    name = models.CharField(max_length=100, unique=True)

    class Meta:
        ordering = ("name",)
        verbose_name = "insurer"

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person who logs in. Without ``tenant`` and ``all_tenants`` they see no business data at all."""

    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="users", verbose_name="insurer"
    )
    all_tenants = models.BooleanField("sees all insurers", default=False)

    def __str__(self) -> str:
        return self.get_full_name() or self.username


def tenant_field() -> models.ForeignKey[Tenant, Tenant]:
    """The insurer of a row. Declared last: an object's first relation is what people know it by."""
    return models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+", verbose_name="insurer")


class TenantOwned(models.Model):
    """A business row: it belongs to one insurer, and so do the events about it, whoever causes them."""

    class Meta:
        abstract = True

    def get_audit_context(self) -> dict[str, Any]:
        """The tenant of the events about this object."""
        return {"tenant": self.tenant_id}  # type: ignore[attr-defined]  # every subclass has a tenant_field()


class NumberSeries(models.Model):
    """The last number given out under a prefix. A number is never given twice, whatever is deleted."""

    prefix = models.CharField(max_length=10, primary_key=True)
    last = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.prefix}-{self.last}"

    @classmethod
    def next(cls, prefix: str, first: int) -> str:
        """The next number: ``P-1007``. Whoever asks at the same time waits until this transaction ends."""
        with transaction.atomic():
            series, is_new = cls.objects.select_for_update().get_or_create(
                prefix=prefix, defaults={"last": first}
            )
            if not is_new:
                series.last += 1
                series.save(update_fields=["last"])
            return str(series)
