"""What Django's own tests, Wagtail and django-oscar brought to light, each in its smallest form."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from cornerapp.models import Truck, Vehicle
from django.apps import apps
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.checks import Tags, run_checks
from django.core.exceptions import FieldError
from django.db import IntegrityError, NotSupportedError, connection, models, transaction
from django.db.migrations.state import ProjectState
from django.test import modify_settings, override_settings
from django.utils.functional import SimpleLazyObject
from made_models import audited
from testapp.models import BestEffort, Customer, Group, Member, Membership, Policy, Tag

from audit_core.errors import EncodeError
from audit_django import registry
from audit_django.capture import transactions
from audit_django.log import DjangoLog
from audit_django.models import AuditEvent
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db(transaction=True)


def told(events) -> list[tuple[str, str]]:
    return [(event.action, event.target.type) for event in events]


def test_a_relation_to_a_lazy_object_such_as_the_user_of_a_request():
    user = User.objects.create(username="alice")
    customer = Customer.objects.create(name="Acme")
    policy = Policy(number="P-1", customer=customer)
    policy.owner = SimpleLazyObject(lambda: user)
    with captured_events() as events:
        policy.save()
    assert events[-1].diff["owner"].after == {"pk": user.pk, "repr": "alice"}


def test_a_row_that_has_nothing_but_its_key_is_saved_again():
    class Bare(models.Model):
        class Meta:
            app_label = "testapp"

    with audited(Bare):
        bare = Bare.objects.create()
        with captured_events() as events:
            bare.save()
            bare.save(force_update=True)
        assert told(events) == []


def test_rows_that_refer_to_a_childs_parent_go_once():
    class Ticket(models.Model):
        vehicle = models.ForeignKey(Vehicle, models.CASCADE, related_name="+")

        class Meta:
            app_label = "testapp"

    with audited(Ticket):
        truck = Truck.objects.create()
        Ticket.objects.create(vehicle=truck)
        with captured_events() as events:
            Vehicle.objects.filter(pk=truck.pk).delete()
        assert sorted(told(events)) == [("delete", "cornerapp.Truck"), ("delete", "testapp.Ticket")]


class Labels(models.Field):
    """A relation of many to many that is no ManyToManyField, as django-taggit and Wagtail have one."""

    many_to_many, many_to_one, one_to_many, one_to_one = True, False, False, False

    def __init__(self, through: type[models.Model]) -> None:
        super().__init__(editable=False, rel=models.ManyToManyRel(self, Tag, through=through))

    def contribute_to_class(self, cls, name, private_only=False):
        self.set_attributes_from_name(name)
        self.model, self.column, self.concrete = cls, None, False
        cls._meta.add_field(self)


def test_a_relation_of_many_to_many_that_is_no_field_of_django():
    class Labelled(models.Model):
        tag = models.ForeignKey(Tag, models.CASCADE, related_name="+")

        class Meta:
            app_label = "testapp"

    class Thing(models.Model):
        labels = Labels(Labelled)

        class Meta:
            app_label = "testapp"

    with audited(Labelled, Thing):
        labelled = Labelled.objects.create(tag=Tag.objects.create(name="a"))
        with captured_events() as events:
            labelled.delete()
        assert told(events) == [("delete", "testapp.Labelled")]


def test_a_link_that_was_saved_as_a_row_is_not_taken_away_without_having_been_made():
    member, group = Member.objects.create(code="ann"), Group.objects.create(name="Choir")
    with captured_events() as events:
        link = Membership.objects.create(member=member, group=group)
        link.delete()
    added = [change.added for event in events for change in event.diff.values() if change.added]
    removed = [change.removed for event in events for change in event.diff.values() if change.removed]
    assert len(added) == len(removed)


def test_a_through_model_that_refers_to_its_sides_by_several_columns():
    class Room(models.Model):
        house = models.IntegerField()
        guests = models.ManyToManyField(Tag, through="Stay", related_name="+")

        class Meta:
            app_label = "testapp"
            unique_together = ("id", "house")

    class Stay(models.Model):
        tag = models.ForeignKey(Tag, models.CASCADE, related_name="+")
        number = models.IntegerField()
        house = models.IntegerField()
        room = models.ForeignObject(
            Room, models.CASCADE, ["number", "house"], ["id", "house"], related_name="+"
        )

        class Meta:
            app_label = "testapp"

    with audited(Room, Stay):
        room, tag = Room.objects.create(house=1), Tag.objects.create(name="a")
        with captured_events() as events:
            Stay.objects.create(tag=tag, room=room)
            room.delete()
        assert told(events) == [
            ("create", "testapp.Stay"),
            ("delete", "testapp.Room"),
            ("delete", "testapp.Stay"),
        ]


def test_the_historical_models_of_a_migration_write_as_without_audit():
    tag, customer = Tag.objects.create(name="a"), Customer.objects.create(name="Acme")
    then = ProjectState.from_apps(apps).apps
    with captured_events() as events:
        policy = then.get_model("testapp", "Policy").objects.create(number="P-1", customer_id=customer.pk)
        policy.tags.add(then.get_model("testapp", "Tag").objects.get(pk=tag.pk))
        then.get_model("testapp", "Claim").objects.bulk_create(
            [then.get_model("testapp", "Claim")(policy=policy)]
        )
        policy.status = "approved"
        policy.save()
        type(policy).objects.update(notes="moved")
        assert Policy.objects.get().tags.get() == tag
        policy.delete()
    assert told(events) == []
    assert not Policy.objects.exists()


def test_an_app_is_installed_later():
    with modify_settings(INSTALLED_APPS={"append": ["django.contrib.sites"]}):
        assert apps.is_installed("django.contrib.sites")


class Wrapper:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self):
        return self.value  # which may be a number: then str() fails


class Wrapped(models.CharField):
    """A field of an application whose value only ``get_db_prep_value`` knows how to write."""

    def from_db_value(self, value, expression, connection):
        return Wrapper(value)

    def to_python(self, value):
        return value if isinstance(value, Wrapper) else Wrapper(value)

    def get_prep_value(self, value):
        return value

    def get_db_prep_value(self, value, connection, prepared=False):
        return value.value if isinstance(value, Wrapper) else value


def test_a_value_that_is_written_by_get_db_prep_value_24():
    class Parcel(models.Model):
        code = Wrapped(max_length=10)

        class Meta:
            app_label = "testapp"

    with audited(Parcel), captured_events() as events:
        Parcel.objects.create(code=Wrapper("a"))
    assert events[-1].diff["code"].after == "a"


class WrappedNumber(models.IntegerField):
    def from_db_value(self, value, expression, connection):
        return Wrapper(value)

    def get_prep_value(self, value):
        return value.value if isinstance(value, Wrapper) else value


def test_a_key_that_has_no_text_56():
    class Seat(models.Model):
        number = WrappedNumber(primary_key=True)

        class Meta:
            app_label = "testapp"

    with audited(Seat), captured_events() as events:
        Seat.objects.create(number=Wrapper(7))
    assert told(events) == [("create", "testapp.Seat")]


def test_an_object_in_place_of_its_key():
    user = User.objects.create(username="alice")
    policy = Policy.objects.create(number="P-1", customer=Customer.objects.create(name="Acme"))
    policy.owner_id = user  # Django writes the key
    with captured_events() as events:
        policy.save()
    assert events[-1].diff["owner"].after == {"pk": user.pk, "repr": "alice"}


def test_a_failed_login_with_whatever_somebody_calls_a_request():
    assert authenticate(request=object(), username="alice", password="wrong") is None


def test_bulk_create_with_unique_fields_that_are_none():
    with pytest.raises((ValueError, NotSupportedError), match="unique.fields"):
        Tag.objects.bulk_create(
            [Tag(name="a")], update_conflicts=True, update_fields=["name"], unique_fields=["policies"]
        )


def test_a_setting_of_somebody_else_costs_nothing():
    before = registry.tracked(Customer)
    with override_settings(SOMETHING_ELSE=True):
        assert registry.tracked(Customer) is before


@pytest.mark.parametrize("code", ["no-such-language-", None])
def test_a_language_that_django_does_not_have_is_left_to_the_system_checks(code):
    with override_settings(LANGUAGE_CODE=code):
        assert registry.tracked(Customer)
        assert "translation.E001" in {problem.id for problem in run_checks(tags=[Tags.translation])}


def test_a_project_without_time_zones():
    started = datetime.now(UTC)
    with override_settings(USE_TZ=False):
        with captured_events() as events:
            Customer.objects.create(name="Acme")
        assert told(events) == [("create", "testapp.Customer")]
        row = AuditEvent.objects.filter(occurred_at__gte=started, occurred_at__lte=datetime.now(UTC)).get()
        assert row.occurred_at == events[0].occurred_at
        log = DjangoLog()
        assert abs(log.now() - datetime.now(UTC)) < timedelta(minutes=5)
        lease = log.acquire("sink", "one", 60)
        assert log.acquire("sink", "two", 60) is None
        assert log.fail(lease, "down", 60).retry_at > log.now()
        assert log.acquire("sink", "two", 60) is None


def test_update_of_a_key_of_several_columns():
    class Pair(models.Model):
        pk = models.CompositePrimaryKey("one", "two")
        one = models.IntegerField()
        two = models.IntegerField()

        class Meta:
            app_label = "testapp"

    with audited(Pair):
        Pair.objects.create(one=1, two=2)
        with pytest.raises(FieldError, match="must be updated individually"):
            Pair.objects.update(pk=(1, 10))
        with captured_events() as events:
            Pair.objects.update(two=9)
        event = events.one("update")
        assert (event.target.id, event.diff["two"].after) == ("[1,2]", 9)  # the key that its history has


def test_a_relation_to_a_model_that_is_not_there_is_left_to_the_system_checks():
    class Lost(models.Model):
        nowhere = models.ForeignKey("testapp.Nowhere", models.CASCADE)

        class Meta:
            app_label = "testapp"

    try:
        registry.register(Lost)
        assert "fields.E300" in {problem.id for problem in Lost.check()}
    finally:
        del apps.all_models["testapp"]["lost"]
        apps.clear_cache()
        registry.unregister(Lost)


@pytest.mark.skipif(not hasattr(models, "DB_CASCADE"), reason="Django 6.1 leaves relations to the database")
def test_a_relation_that_is_left_to_the_database_is_pointed_out():
    class Parcel(models.Model):
        customer = models.ForeignKey(Customer, getattr(models, "DB_CASCADE", None), related_name="+")

        class Meta:
            app_label = "testapp"

    with audited(Parcel):
        [message] = [message for message in run_checks() if message.id == "audit.W008"]
        assert "testapp.Parcel.customer" in message.msg


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_transaction_that_the_application_began_in_sql(end):
    with captured_events() as events:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN")
            customer = Customer.objects.create(name="Acme")
            with mock.patch("audit_django.recording.Recorder.build", side_effect=EncodeError("no form")):
                for write in (customer.save, customer.delete, Customer.objects.all().delete):
                    customer.name = "never"
                    with pytest.raises(EncodeError):
                        write()
            BestEffort.objects.create(data="x")
            Customer.objects.update(name="Bolt")
            assert connection.get_autocommit()
            cursor.execute(end)
        Tag.objects.create(name="after")
    written = [
        ("create", "testapp.Customer"),
        ("create", "testapp.BestEffort"),
        ("update", "testapp.Customer"),
    ]
    assert told(events) == [*(written if end == "COMMIT" else []), ("create", "testapp.Tag")]
    assert list(Customer.objects.values_list("name", flat=True)) == (["Bolt"] if end == "COMMIT" else [])


def test_of_a_transaction_that_was_begun_in_sql_nobody_hears_too_early(monkeypatch):
    told = []
    monkeypatch.setattr(transactions, "after_commit", [lambda *args: told.append(args)])
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        Customer.objects.create(name="Acme")
        cursor.execute("ROLLBACK")
        assert not Customer.objects.exists()
        assert not AuditEvent.objects.exists()
        with transaction.atomic():
            assert not Tag.objects.exists()
        assert told == []  # not of what was rolled back

        cursor.execute("BEGIN")
        customer = Customer.objects.create(name="Bell")
        with pytest.raises(IntegrityError):
            Customer.objects.create(pk=customer.pk, name="Cole")
        cursor.execute("COMMIT")
    assert Customer.objects.get() == customer
    assert AuditEvent.objects.get().target_id == str(customer.pk)
