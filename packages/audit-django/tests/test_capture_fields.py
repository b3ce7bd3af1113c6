"""Fields of every kind: what is recorded is what the database holds. Names that end in a number are those of traps."""

import secrets
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.files.base import ContentFile
from django.db import connection, models
from django.db.models.functions import Now
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from made_models import audited
from testapp.models import Claim, Customer, Gauge, Policy, Tag

from audit_core.event import Actor
from audit_django import audit_context, record, registry
from audit_django.models import AuditEvent
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="needs PostgreSQL: AUDIT_TEST_DATABASE=postgres"
)


def made(field):
    """A model with this one field, called ``value``."""
    return type(
        "Kind",
        (models.Model,),
        {
            "__module__": __name__,
            "Meta": type("Meta", (), {"app_label": "testapp"}),
            "value": field,
        },
    )


class Money:
    """A value of somebody's own."""

    def __init__(self, amount, currency):
        self.amount, self.currency = amount, currency

    def __eq__(self, other):
        return isinstance(other, Money) and vars(self) == vars(other)

    __hash__ = None


class MoneyField(models.CharField):
    """A custom field as Django's documentation shows how to write one."""

    def from_db_value(self, value, expression, connection):
        return self.to_python(value)

    def to_python(self, value):
        if value is None or isinstance(value, Money):
            return value
        currency, amount = value.split(" ")
        return Money(Decimal(amount), currency)

    def get_prep_value(self, value):
        return value if value is None else f"{value.currency} {value.amount}"

    def value_to_string(self, obj):
        return self.get_prep_value(self.value_from_object(obj))


CIPHER = AESGCM(bytes(32))


class EncryptedField(models.TextField):
    """Text that the database holds encrypted, each time under another nonce."""

    def from_db_value(self, value, expression, connection):
        raw = bytes.fromhex(value)
        return CIPHER.decrypt(raw[:12], raw[12:], None).decode()

    def get_prep_value(self, value):
        nonce = secrets.token_bytes(12)
        return (nonce + CIPHER.encrypt(nonce, value.encode(), None)).hex()


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Priority(models.IntegerChoices):
    LOW = 1, gettext_lazy("Low")
    HIGH = 2, gettext_lazy("High")


ONE_ID = uuid.UUID("0190b2a4-0000-7000-8000-000000000000")
MICRO = datetime(2026, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC)

KINDS = {
    "big integer": (models.BigIntegerField, [2**63 - 1, -(2**63)], ["9223372036854775807", "-9223372036854775808"]),
    "binary": (models.BinaryField, [b"\xff\x00\xfe", b""], [{"base64": "/wD+"}, {"base64": ""}]),
    "boolean": (models.BooleanField, [True, False], [True, False]),
    "custom": (lambda: MoneyField(max_length=20), [Money(Decimal("5.00"), "EUR"), Money(Decimal(7), "CHF")],
               ["EUR 5.00", "CHF 7"]),
    "date": (models.DateField, [date(2026, 2, 28), date(1, 1, 1)], ["2026-02-28", "0001-01-01"]),
    "moment": (models.DateTimeField, [MICRO, MICRO.replace(microsecond=0)],
               ["2026-03-01T23:59:59.999999Z", "2026-03-01T23:59:59Z"]),
    "decimal": (lambda: models.DecimalField(max_digits=20, decimal_places=10), [Decimal("1E-10"), Decimal("-0.0")],
                ["0.0000000001", "0.0000000000"]),
    "duration": (models.DurationField, [timedelta(days=1, microseconds=1), timedelta(seconds=-1)],
                 ["P1DT00H00M00.000001S", "-P0DT00H00M01S"]),
    "encrypted": (EncryptedField, ["Jane", "naïve"], ["Jane", "naïve"]),
    "enum": (lambda: models.CharField(max_length=10, choices=[(size.value, size.name) for size in Size]),
             [Size.SMALL.value, Size.LARGE.value], ["small", "large"]),
    "float": (models.FloatField, [1e22, 0.1], ["1e+22", 0.1]),
    "address": (models.GenericIPAddressField, ["2001:DB8::1", "192.0.2.1"], ["2001:db8::1", "192.0.2.1"]),
    "choices": (lambda: models.IntegerField(choices=Priority), [Priority.LOW, Priority.HIGH], [1, 2]),
    "json": (models.JSONField, [{"a": [1, None, {"ä": 1.5}]}, []], [{"a": [1, None, {"ä": 1.5}]}, []]),
    "time": (models.TimeField, [time(23, 59, 59, 1), time(0)], ["23:59:59.000001", "00:00:00"]),
    "text": (models.TextField, [mark_safe("<b>ß</b>"), "👩\u200d👧 \u202e"], ["<b>ß</b>", "👩\u200d👧 \u202e"]),
    "uuid": (models.UUIDField, [ONE_ID, uuid.UUID(int=0)], [str(ONE_ID), str(uuid.UUID(int=0))]),
}  # fmt: skip


def lives(field, values, told):
    """An object with this field is made, saved again, changed and deleted, and each event tells it in these words."""
    first, second = values
    kind = made(field)
    with audited(kind), captured_events() as events:
        item = kind.objects.create(value=first)
        item.save()
        kind.objects.get().save()
        item.value = second
        item.save()
        kind.objects.update(value=first)
        item.delete()
        assert [
            (event.action, event.diff["value"].before, event.diff["value"].after) for event in events
        ] == [
            ("create", None, told[0]),
            ("update", told[0], told[1]),
            ("update", told[1], told[0]),
            ("delete", told[0], None),
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_fields_24(kind):
    field, values, told = KINDS[kind]
    lives(field(), values, told)


@on_postgresql
@pytest.mark.parametrize("kind", ["array", "date range", "empty range", "nested array", "hstore"])
def test_kinds_of_fields_of_postgresql_24(kind):
    from django.contrib.postgres import fields
    from django.contrib.postgres.signals import register_type_handlers
    from django.db.backends.postgresql.psycopg_any import DateRange, NumericRange

    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS hstore")
    register_type_handlers(connection)
    march, april = date(2026, 3, 1), date(2026, 4, 1)
    kinds = {
        "array": (fields.ArrayField(models.IntegerField()), [[1, None], []], [[1, None], []]),
        "nested array": (
            fields.ArrayField(fields.ArrayField(models.DateField())), [[[march]], [[april]]],
            [[["2026-03-01"]], [["2026-04-01"]]],
        ),
        "date range": (
            fields.DateRangeField(), [DateRange(march, april), DateRange(None, april)],
            ['{"bounds": "[)", "lower": "2026-03-01", "upper": "2026-04-01"}',
             '{"bounds": "()", "lower": null, "upper": "2026-04-01"}'],
        ),
        "empty range": (
            fields.IntegerRangeField(), [NumericRange(empty=True), NumericRange(1, 5, "[]")],
            ['{"empty": true}', '{"bounds": "[)", "lower": "1", "upper": "6"}'],
        ),
        "hstore": (fields.HStoreField(), [{"a": "1", "b": None}, {}], [{"a": "1", "b": None}, {}]),
    }  # fmt: skip
    lives(*kinds[kind])


def test_a_file_is_its_name_24(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    kind = made(models.FileField(upload_to="letters", null=True))
    with audited(kind), captured_events() as events:
        item = kind()
        item.value.save("a.txt", ContentFile(b"\xff"))
        item.save()
        item.value = ContentFile(b"x", name="b.txt")
        item.save()
        assert [(event.diff["value"].before, event.diff["value"].after) for event in events] == [
            (None, "letters/a.txt"),
            ("letters/a.txt", "letters/b.txt"),
        ]


BROKEN = "a\x00b\ud800c"


def test_text_that_no_database_takes_is_written_visibly_24():
    """A column would refuse it; what a request says of itself, a reason or a label has no column of its own."""

    class Odd(Tag):
        class Meta:
            proxy = True
            app_label = "testapp"

        def __str__(self):
            return BROKEN

    shown = "a\\u0000b\\ud800c"
    with captured_events() as events:
        with audit_context(actor=Actor(username=BROKEN), reason=BROKEN, user_agent=BROKEN, ticket=[BROKEN]):
            Odd.objects.create(name="x")
        record("looked", extra={BROKEN: BROKEN, "raw": b"\xff"})
        created, looked = events
    assert (created.target.repr, created.actor.username, created.reason) == (shown, shown, shown)
    assert (created.context.user_agent, created.extra["ticket"]) == (shown, [shown])
    assert looked.extra == {shown: shown, "raw": {"base64": "/w=="}}


TEN_MB = 10 * 1024 * 1024


@pytest.mark.parametrize(
    ("field", "value", "raw"),
    [
        (models.TextField(), "ä" * (TEN_MB // 2), "ä".encode() * (TEN_MB // 2)),
        # PyMySQL writes a byte as two digits, and MariaDB takes 16 MB.
        (models.BinaryField(), b"\xff" * (TEN_MB // 2), b"\xff" * (TEN_MB // 2)),
    ],
    ids=["text", "bytes"],
)
def test_many_megabytes_are_a_digest_25(field, value, raw):
    kind = made(field)
    digest = {"sha256": sha256(raw).hexdigest(), "length": len(value)}
    with audited(kind), captured_events() as events:
        item = kind.objects.create(value=value)
        item.save()
        assert events.one().diff["value"].after == digest
        assert len(AuditEvent.objects.latest("number").text) < 2000


def test_a_document_of_ten_megabytes_is_a_digest_25():
    """However many small values it is made of."""
    kind = made(models.JSONField())
    document = {"numbers": ["x" * 100] * (TEN_MB // 100)}
    with audited(kind), captured_events() as events:
        item = kind.objects.create(value=document)
        item.save()
        item.value["numbers"].append("y")
        item.save()
        created, updated = events
        assert created.diff["value"].after.keys() == {"sha256", "length"}
        assert created.diff["value"].after["length"] > TEN_MB
        assert updated.diff["value"].before == created.diff["value"].after
        assert updated.diff["value"].before != updated.diff["value"].after
        assert len(AuditEvent.objects.latest("number").text) < 2000


def test_the_size_of_a_digested_value_is_a_setting_25(settings):
    kind = made(models.TextField())
    digest = {"sha256": sha256(b"x" * 100).hexdigest(), "length": 100}
    with audited(kind), captured_events() as events:
        for size in (99, 100):
            settings.AUDIT = {"MAX_VALUE_BYTES": size}
            kind.objects.create(value="x" * 100)
        created, whole = events
        assert created.diff["value"].after == digest
        assert whole.diff["value"].after == "x" * 100


class Shouted(str):
    """A text of somebody's own."""


CASTS = {
    "number for text": (lambda: models.CharField(max_length=20), 12345),
    "date for text": (lambda: models.CharField(max_length=20), date(2026, 3, 1)),
    "lazy text": (lambda: models.CharField(max_length=20), gettext_lazy("Monday")),
    "subclass of text": (lambda: models.CharField(max_length=20), Shouted("a")),
    "bytes that are no UTF-8 for text": (lambda: models.CharField(max_length=40), b"\xff\xfe"),
    "text for a number": (models.IntegerField, "0012"),
    "fraction for a number": (models.IntegerField, 3.7),
    "truth for a number": (models.IntegerField, True),
    "text for a float": (models.FloatField, "1.50"),
    "decimal for a float": (models.FloatField, Decimal("1.50")),
    "number for truth": (models.BooleanField, 1),
    "text for truth": (models.BooleanField, "f"),
    "float for a decimal": (lambda: models.DecimalField(max_digits=8, decimal_places=2), 1.005),
    "moment for a date": (models.DateField, datetime(2026, 3, 1, 23, 30, tzinfo=UTC)),
    "text for a moment": (models.DateTimeField, "2026-03-01T12:00:00+02:00"),
    "text for a time": (models.TimeField, "12:00"),
    "bytes for binary": (models.BinaryField, bytearray(b"\xff\xfe")),
    "memory for binary": (models.BinaryField, memoryview(b"\xff\xfe")),
    "text for a UUID": (models.UUIDField, "0190B2A4000070008000000000000000"),
    "tuples in JSON": (models.JSONField, {"a": (1, 2), 3: "x"}),
}  # fmt: skip


@pytest.mark.parametrize("before", ["database", "instance"])
@pytest.mark.parametrize("cast", CASTS)
def test_a_value_of_another_type_than_the_columns_56(cast, before):
    """It is recorded as the database gives it back, and saving it again is no change."""
    field, value = CASTS[cast]
    kind = made(field())
    with audited(kind, before=before), captured_events() as events:
        item = kind.objects.create(value=value)
        stored = kind.objects.get()
        [spec] = registry.tracked(kind).fields
        assert events.one("create").diff["value"].after == spec.plain(stored.value)
        item.save()
        stored.value = value
        stored.save()
        kind.objects.update(value=value)
        assert [event.action for event in events] == ["create"]


@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="other databases have no text in a column of numbers"
)
def test_a_value_that_its_column_cannot_hold_56():
    """SQLite keeps what does not fit the column's type, and Django gives it back as it is."""
    gauge = Gauge.objects.create(qty=1)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE testapp_gauge SET price = 'dear', ratio = X'FFFE'")
    with captured_events() as events:
        gauge.price, gauge.ratio = 3, 0.5
        gauge.save()
    event = events.one("update")
    assert (event.diff["price"].before, event.diff["price"].after) == ("dear", 3)
    assert (event.diff["ratio"].before, event.diff["ratio"].after) == ({"base64": "//4="}, 0.5)


def test_now_is_stored_as_a_value_9():
    gauge = Gauge.objects.create(qty=1, created=datetime(2020, 1, 1, tzinfo=UTC))
    with captured_events() as events:
        gauge.created = Now()
        gauge.save()
    change = events.one("update").diff["created"]
    stored = Gauge.objects.get().created
    assert change.before == "2020-01-01T00:00:00Z"
    assert change.after == stored.isoformat().replace("+00:00", "Z")


def test_a_number_as_text_is_no_change_10():
    policy = Policy.objects.create(number="P", customer=Customer.objects.create(name="Jane"))
    claim = Claim.objects.create(policy=policy, amount=1)
    with captured_events() as events:
        claim.amount, claim.policy_id = "1", str(policy.pk)
        claim.save()
        Claim.objects.update(amount="1")
    events.assert_nothing_recorded()


@on_postgresql
@pytest.mark.parametrize("before", ["database", "instance"])
def test_an_array_changed_in_place_11(before):
    from django.contrib.postgres.fields import ArrayField

    kind = made(ArrayField(models.IntegerField()))
    with audited(kind, before=before):
        kind.objects.create(value=[1])
        item = kind.objects.get()
        item.value.append(2)
        with captured_events() as events:
            item.save()
        assert (events.one().diff["value"].before, events[0].diff["value"].after) == ([1], [1, 2])
