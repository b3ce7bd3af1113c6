"""The quick forms of values are those that the long way gives."""

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.db import models
from django.db.models import Field
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_django.fields import pk_text
from audit_django.quick import quick_form
from audit_django.values import normalized, plain_value

VALUES = st.one_of(
    st.text(max_size=70),
    st.integers(),
    st.booleans(),
    st.floats(),
    st.decimals(allow_nan=True),
    st.decimals(min_value=-1000, max_value=1000, places=2),
    st.sampled_from(
        [Decimal("-0.00"), Decimal("0.00"), Decimal("1E+3"), Decimal("1.23456E-10"), Decimal("1.2E+5")]
    ),
    st.dates(),
    st.datetimes(),
    st.datetimes(timezones=st.sampled_from([UTC])),
    st.datetimes(timezones=st.timezones()),
    st.uuids(),
    st.binary(max_size=5),
)
FIELDS: list[Field] = [
    models.CharField(max_length=70),
    models.TextField(),
    models.IntegerField(),
    models.BigAutoField(primary_key=True),
    models.BooleanField(),
    models.DecimalField(max_digits=40, decimal_places=2),
    models.DecimalField(max_digits=40, decimal_places=5),
    models.DecimalField(max_digits=40, decimal_places=0),
    models.DateField(),
    models.DateTimeField(),
    models.UUIDField(),
    models.FloatField(),
    models.JSONField(),
]


@pytest.mark.parametrize("vendor", ["sqlite", "postgresql", "mysql"])
@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FIELDS), VALUES)
def test_they_are_what_the_long_way_gives(vendor, field, value):
    form = quick_form(field)
    if form is not None and (quick := form(value)) is not None:
        assert quick == plain_value(field, normalized(field, value, vendor))
        assert type(quick) is type(plain_value(field, value))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (models.CharField(), "short"),
        (models.IntegerField(), 7),
        (models.BooleanField(), False),
        (models.DecimalField(decimal_places=2), Decimal("12.50")),
        (models.DateField(), date(2026, 3, 1)),
        (models.DateTimeField(), datetime(2026, 3, 1, 12, tzinfo=UTC)),
        (models.UUIDField(), uuid.UUID(int=7)),
    ],
)
def test_common_values_have_one(field, value):
    assert quick_form(field)(value) is not None


class Shouting(models.CharField):
    def to_python(self, value):
        return value.upper()


def test_a_field_of_somebody_elses_has_none():
    assert quick_form(Shouting()) is None


class Hashed(models.BigAutoField):
    def to_python(self, value):
        return value if isinstance(value, str) else f"h{value}"


@pytest.mark.parametrize(
    ("column", "pk", "text"),
    [
        (models.BigAutoField(primary_key=True), 5, "5"),
        (models.BigAutoField(primary_key=True), "5", "5"),
        (models.CharField(primary_key=True), "5", "5"),
        (models.UUIDField(primary_key=True), uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (models.UUIDField(primary_key=True), str(uuid.UUID(int=7)), "00000000-0000-0000-0000-000000000007"),
        (Hashed(primary_key=True), 5, "h5"),
        (Hashed(primary_key=True), "h5", "h5"),
    ],
)
def test_one_key_has_one_text(column, pk, text):
    model = SimpleNamespace(_meta=SimpleNamespace(pk_fields=[column]))
    assert pk_text(model, pk) == text
