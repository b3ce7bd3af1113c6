"""What a hostile review of the capture found, each as the rule that was broken."""

from decimal import Decimal
from unittest import mock

import pytest
from cornerapp.models import (
    Boss,
    Both,
    Club,
    Dangling,
    First,
    GeneratedFirst,
    Inpatient,
    Label,
    Letter,
    Owned,
    Patient,
    Person,
    Referral,
    Second,
    Stock,
    Truck,
)
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.db.models import F
from django.db.models.signals import pre_delete
from django.http import StreamingHttpResponse
from django.test import RequestFactory

from audit_core.errors import EncodeError
from audit_django import audit_context, record
from audit_django.context.middleware import AuditMiddleware
from audit_django.models import AuditEvent
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db(transaction=True)


class TestSecrets:
    def test_a_child_keeps_its_parents_secrets(self):
        Inpatient.objects.create(name="Jane", diagnosis="flu-like")
        assert "flu-like" not in AuditEvent.objects.get().text

    def test_a_label_shows_no_secret(self):
        with captured_events() as events:
            Patient.objects.create(name="Jane", diagnosis="flu-like")
        assert events[0].target.repr == "Jane (••••••••)"

    def test_a_relation_to_a_secret_is_one(self):
        referral = Referral.objects.create(secret="123-45-6789")
        Letter.objects.create(referral=referral)
        assert not any("123-45" in row.text + row.search for row in AuditEvent.objects.all())


class TestValues:
    def test_a_decimal_is_rounded_as_the_database_rounds_it(self):
        stock = Stock.objects.create(price=Decimal("0.125"))
        stored = Stock.objects.get().price
        with captured_events() as events:
            stock.save()
        assert AuditEvent.objects.first().event.diff["price"].after == str(stored)
        events.assert_nothing_recorded()

    def test_a_field_that_writes_its_own_way_is_read_back_24(self):
        stock = Stock.objects.create(email="A@B")
        with captured_events() as events:
            stock.save()
        assert AuditEvent.objects.first().event.diff["email"].after == "a@b"
        events.assert_nothing_recorded()

    def test_a_label_holds_no_expression_9(self):
        stock = Stock.objects.create(count=1)
        with captured_events() as events:
            stock.count = F("count") + 1
            stock.save()
        assert events.one("update").target.repr == "stock 2"

    def test_a_label_holds_nothing_that_was_not_written(self):
        boss = Boss.objects.create(name="Ann")
        with captured_events() as events:
            boss.name, boss.code = "not written", "A"
            boss.save(update_fields=["code"])
        assert events.one("update").target.repr == "Ann"

    def test_a_relation_that_leads_nowhere_is_still_an_update(self):
        old, new = Boss.objects.create(name="old"), Boss.objects.create(name="new")
        dangling = Dangling.objects.create(boss=old)
        Boss.objects.filter(pk=old.pk)._raw_delete("default")
        with captured_events() as events:
            dangling.boss = new
            dangling.save()
        assert events.one("update").diff["boss"].before == {"pk": old.pk, "repr": None}


class TestInheritance:
    def test_a_field_of_a_parent_that_is_not_audited_19(self):
        label, boss = Label.objects.create(name="red"), Boss.objects.create(name="Ann")
        truck = Truck.objects.create(name="T", boss=boss)
        with captured_events() as events:
            truck.labels.add(label)
            truck.labels.clear()
            label.vehicle_set.add(truck.pk)
        assert {event.target.type for event in events} <= {"cornerapp.Truck"}
        assert events[-1].diff["labels"].added == [{"pk": label.pk, "repr": "red"}]
        with captured_events() as events:
            boss.delete()
        assert events.one("update", truck).diff["boss"].after is None

    def test_a_child_saved_by_the_key_of_its_parent(self):
        patient = Inpatient.objects.create(name="old")
        with captured_events() as events:
            Inpatient(id=patient.pk, name="new").save()
        assert events.one("update").diff["name"].after == "new"

    def test_the_key_is_that_of_the_parent_that_is_audited(self):
        First.objects.create(a="other")
        both = Both.objects.create(a="a", b="b")
        with captured_events() as events:
            both.b = "c"
            both.save()
        assert events.one("update", Second).target.id == str(both.second_id) != str(both.first_id)

    def test_what_a_deletion_keeps_is_not_gone(self):
        patient = Inpatient.objects.create(name="Jane", bed=3)
        with captured_events() as events:
            patient.delete(keep_parents=True)
        assert events.one("delete").diff.keys() == {"bed"}


class TestDeletions:
    def test_a_change_and_set_null_in_one_transaction_are_both_told(self):
        old, new = Boss.objects.create(name="old"), Boss.objects.create(name="new")
        owned = Owned.objects.create(boss=old)
        with captured_events() as events, transaction.atomic():
            owned.boss = new
            owned.save()
            new.delete()
        updates = events.matching("update", owned)
        assert (updates[0].diff["boss"].before["repr"], updates[-1].diff["boss"].after) == ("old", None)

    def test_who_deletes_himself_keeps_his_key(self):
        user = User.objects.create(username="alice")
        boss, key = Boss.objects.create(name="x"), str(user.pk)

        def and_the_boss(sender, instance, **kwargs):
            boss.delete()

        pre_delete.connect(and_the_boss, sender=User)
        try:
            with captured_events() as events, audit_context(actor=user):
                user.delete()
        finally:
            pre_delete.disconnect(and_the_boss, sender=User)
        assert {event.actor.id for event in events} == {key}

    def test_rows_are_read_after_the_last_handler(self):
        boss = Boss.objects.create(name="before")

        def rename(sender, instance, **kwargs):
            Boss.objects.filter(pk=instance.pk).update(name="after")

        pre_delete.connect(rename, sender=Boss)
        try:
            with captured_events() as events:
                boss.delete()
        finally:
            pre_delete.disconnect(rename, sender=Boss)
        assert events.one("delete").diff["name"].before == "after"

    def test_links_by_another_field_than_the_key_19(self):
        Person.objects.create(code="other")
        person, club = Person.objects.create(code="p"), Club.objects.create(code="c")
        with captured_events() as events:
            person.clubs.add(club)
        assert events.one("update", person).diff["clubs"].added[0]["pk"] == club.pk
        with captured_events() as events:
            person.clubs.remove(club)
        assert events.one("update", person).diff["clubs"].removed[0]["pk"] == club.pk


class TestTransactions:
    def test_a_caught_error_leaves_no_row_without_its_event_when_autocommit_is_off(self):
        transaction.set_autocommit(False)
        try:
            with (
                mock.patch("audit_django.recording.Recorder.build", side_effect=EncodeError("no form")),
                pytest.raises(EncodeError),
            ):
                Boss.objects.create(name="x")
            transaction.commit()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert Boss.objects.count() == AuditEvent.objects.count() == 0

    def test_wrappers_that_somebody_took_away_break_nothing(self):
        with transaction.atomic():
            Boss.objects.create(name="x")
            connection.execute_wrappers.clear()
        Boss.objects.create(name="y")
        assert AuditEvent.objects.count() == 2

    def test_a_generated_column_before_the_key(self):
        with transaction.atomic():
            row = GeneratedFirst.objects.create(code="g", count=1)
            row.count = 2
            row.save()
        assert AuditEvent.objects.last().event.diff["total"].after == 4

    @pytest.mark.skipif(
        connection.vendor != "postgresql", reason="this database has no lock that spares foreign keys"
    )
    def test_a_save_does_not_block_inserts_that_refer_to_its_row(self):
        boss = Boss.objects.create(name="x")
        other = connections.create_connection("default")
        try:
            with transaction.atomic():
                boss.name = "y"
                boss.save()
                with other.cursor() as cursor:
                    cursor.execute("SET lock_timeout = '2s'")
                    cursor.execute("INSERT INTO cornerapp_owned (boss_id) VALUES (%s)", [boss.pk])
        finally:
            other.close()
        assert Owned.objects.count() == 1


def test_a_streamed_response_is_still_the_request():
    def content():
        record("streamed")
        yield b"x"

    request = RequestFactory().get("/", headers={"x-request-id": "req-1"})
    response = AuditMiddleware(lambda request: StreamingHttpResponse(content()))(request)
    with captured_events() as events:
        assert b"".join(response.streaming_content) == b"x"
    assert events.one("streamed").context.request_id == "req-1"
