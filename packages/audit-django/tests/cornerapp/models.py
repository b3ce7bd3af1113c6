"""Models at the corners of what the ORM allows, each with the trap that it stands for."""

from django.db import models
from django.db.models import F

from audit_django import register


class LowerField(models.CharField):
    """Gives the database another value than the instance holds."""

    def get_prep_value(self, value):
        value = super().get_prep_value(value)
        return value if value is None else value.lower()


class Boss(models.Model):
    name = models.CharField(max_length=20)
    code = models.CharField(max_length=20, unique=True, null=True)

    def __str__(self):
        return self.name


class Label(models.Model):
    name = models.CharField(max_length=20)

    def __str__(self):
        return self.name


class Patient(models.Model):
    """A parent with a secret; its label shows it."""

    name = models.CharField(max_length=20)
    diagnosis = models.CharField(max_length=20, blank=True)

    def __str__(self):
        return f"{self.name} ({self.diagnosis})"


class Inpatient(Patient):
    bed = models.IntegerField(default=0)


class Referral(models.Model):
    """Refers to a secret by ``to_field``."""

    secret = models.CharField(max_length=20, unique=True)


class Letter(models.Model):
    referral = models.ForeignKey(Referral, models.CASCADE, to_field="secret")


class Vehicle(models.Model):
    """Not audited itself; its child is."""

    name = models.CharField(max_length=20)
    labels = models.ManyToManyField(Label, blank=True)
    boss = models.ForeignKey(Boss, models.SET_NULL, null=True)


class Truck(Vehicle):
    load = models.IntegerField(default=0)


class First(models.Model):
    first_id = models.AutoField(primary_key=True)
    a = models.CharField(max_length=10)


class Second(models.Model):
    second_id = models.AutoField(primary_key=True)
    b = models.CharField(max_length=10)


class Both(First, Second):
    """Only the second of its parents is audited."""


class Person(models.Model):
    code = models.CharField(max_length=10, unique=True)
    clubs = models.ManyToManyField("Club", through="Seat")


class Club(models.Model):
    """The other side of the same through model has a field too."""

    code = models.CharField(max_length=10, unique=True)
    persons = models.ManyToManyField(Person, through="Seat", related_name="seated_in")


class Seat(models.Model):
    person = models.ForeignKey(Person, models.CASCADE, to_field="code")
    club = models.ForeignKey(Club, models.CASCADE, to_field="code")


class Stock(models.Model):
    count = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    email = LowerField(max_length=50, blank=True)

    def __str__(self):
        return f"stock {self.count}"


class Dangling(models.Model):
    boss = models.ForeignKey(Boss, models.DO_NOTHING, db_constraint=False)


class Owned(models.Model):
    boss = models.ForeignKey(Boss, models.SET_NULL, null=True)


class GeneratedFirst(models.Model):
    total = models.GeneratedField(
        expression=F("count") * 2, output_field=models.IntegerField(), db_persist=True
    )
    code = models.CharField(max_length=10, primary_key=True)
    count = models.IntegerField(default=0)


for model in (
    Boss,
    Label,
    Inpatient,
    Letter,
    Truck,
    Second,
    Person,
    Club,
    Stock,
    Dangling,
    Owned,
    GeneratedFirst,
):
    register(model)
register(Patient, sensitive=["diagnosis"])
register(Referral, sensitive=["secret"])
