"""The tests of an application that is audited, in each of Django's ways: test_capture_testing runs them with Django's runner."""

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import transaction
from django.test import TestCase, TransactionTestCase
from testapp.models import Customer, Policy, Tag

from audit_django.models import AuditEvent
from audit_django.testing import captured_events


def write_in_every_way():
    """What an application's test may do, and how many events it makes."""
    policy = Policy.objects.create(number="P", customer=Customer.objects.create(name="Jane"))
    policy.tags.add(Tag.objects.create(name="a"))
    with transaction.atomic():
        Tag.objects.update(name="b")
    Tag.objects.bulk_create([Tag(name="c"), Tag(name="d")])
    policy.delete()
    Tag.objects.all().delete()
    return 11


class Works:
    def test_capture_works(self):
        with captured_events() as events:
            count = write_in_every_way()
            assert len(events) == count, events.describe()

    def test_it_works_again(self):
        self.test_capture_works()


class InATransaction(Works, TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.user = User.objects.create(username="alice")


class Committed(Works, TransactionTestCase):
    def test_flush(self):
        Tag.objects.create(name="x")
        call_command("flush", interactive=False, verbosity=0)
        assert not Tag.objects.exists()
        assert not AuditEvent.objects.exists()
        self.test_capture_works()


class WithoutTheTrail(TransactionTestCase):
    """The apps that a test names are those whose tables it empties, and ours is not among them."""

    available_apps = ("django.contrib.contenttypes", "django.contrib.auth", "testapp")

    def test_writes_work(self):
        write_in_every_way()
        assert not Tag.objects.exists()

    def test_writes_work_again(self):
        self.test_writes_work()


class WithTheTrail(Works, TransactionTestCase):
    available_apps = (*WithoutTheTrail.available_apps, "audit_django")


class SerializedRollback(Works, TransactionTestCase):
    """What the migrations have put into the tables is put back after each test, the trail's own rows included."""

    serialized_rollback = True

    def test_what_was_there_at_first_is_there_again(self):
        assert not Tag.objects.exists()
        assert not AuditEvent.objects.exists()
