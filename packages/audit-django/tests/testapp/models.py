"""Models of every kind that capture has to know."""

import uuid

from django.contrib.auth.models import User
from django.db import models
from django.db.models import F
from django.db.models.functions import Now

from audit_django import AuditableMixin, audited, register


class Customer(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(blank=True)
    phone = models.CharField("phone number", max_length=30, blank=True)
    ssn = models.CharField("social security number", max_length=20, blank=True)
    is_active = models.BooleanField("active", default=True)

    def __str__(self):
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self):
        return self.name


class Policy(models.Model):
    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        PENDING = "pending", "Pending"
        APPROVED = "approved", "Approved"

    number = models.CharField(max_length=20)
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="policies")
    owner = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL)
    status = models.CharField(max_length=20, choices=Status, default=Status.DRAFT)
    premium = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    valid_until = models.DateField(null=True, blank=True)
    coverage = models.JSONField(default=dict, blank=True)
    notes = models.TextField(blank=True)
    tags = models.ManyToManyField(Tag, blank=True, related_name="policies")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "policies"

    def __str__(self):
        return self.number


class PolicyProxy(Policy):
    class Meta:
        proxy = True


class Claim(models.Model):
    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="claims")
    handler = models.ForeignKey(User, null=True, on_delete=models.SET_NULL)
    amount = models.IntegerField(default=0)

    def __str__(self):
        return f"C-{self.pk}"


class Document(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    claim = models.ForeignKey(Claim, on_delete=models.CASCADE, related_name="documents")
    title = models.CharField(max_length=50)

    def __str__(self):
        return self.title


@audited
class Place(models.Model):
    name = models.CharField(max_length=50)


@audited
class Restaurant(Place):
    stars = models.IntegerField(default=0)


class Note(AuditableMixin, models.Model):
    audit_options = {"exclude": ["draft"]}  # noqa: RUF012

    text = models.TextField()
    draft = models.TextField(blank=True)
    author = models.CharField(max_length=50, blank=True)

    def get_audit_context(self):
        return {"actor": self.author} if self.author else {}


class Account(models.Model):
    """A manager that hides what was softly deleted."""

    class Visible(models.Manager):
        def get_queryset(self):
            return super().get_queryset().filter(hidden=False)

    name = models.CharField(max_length=20)
    hidden = models.BooleanField(default=False)

    objects = Visible()

    def __str__(self):
        return self.name


class Member(models.Model):
    """Symmetrical relations, a through model, a key that is text."""

    code = models.CharField(max_length=20, primary_key=True)
    friends = models.ManyToManyField("self", symmetrical=True, blank=True)
    groups = models.ManyToManyField("Group", through="Membership", blank=True)

    def __str__(self):
        return self.code


class Group(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self):
        return self.name


class Membership(models.Model):
    member = models.ForeignKey(Member, on_delete=models.CASCADE)
    group = models.ForeignKey(Group, on_delete=models.CASCADE)
    role = models.CharField(max_length=20, default="member")


class Gauge(models.Model):
    """Values that only the database knows."""

    qty = models.IntegerField(default=0, unique=True)
    price = models.IntegerField(default=2)
    total = models.GeneratedField(
        expression=F("qty") * F("price"), output_field=models.IntegerField(), db_persist=True
    )
    created = models.DateTimeField(db_default=Now())
    ratio = models.FloatField(null=True)


class Fragile(models.Model):
    """A label that fails."""

    name = models.CharField(max_length=20)

    def __str__(self):
        raise ValueError("no label today")


class BestEffort(models.Model):
    data = models.CharField(max_length=20)


class Unaudited(models.Model):
    name = models.CharField(max_length=20)
    tags = models.ManyToManyField(Tag)


for model in (Tag, Account, Claim, Document, Member, Group, Membership, Gauge, Fragile):
    register(model)
register(Policy, owner=["owner"])
register("testapp.Customer", sensitive=["ssn"])
register(BestEffort, on_error="best_effort")
