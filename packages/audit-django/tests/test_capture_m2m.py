"""Many-to-many relations, from every side and in every way (trap 19)."""

import threading

import pytest
from cornerapp.models import Club, Person, Seat
from django.db import connection, connections, transaction
from testapp.models import Customer, Group, Member, Membership, Policy, Tag, Unaudited

from audit_core.summarizers.grammar import GrammarSummarizer
from audit_django import audit_context, disabled
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db


@pytest.fixture
def policy(db):
    return Policy.objects.create(number="P-1", customer=Customer.objects.create(name="Jane Doe"))


@pytest.fixture
def tags(db):
    return [Tag.objects.create(name=name) for name in ("Critical", "Legacy", "Old")]


def links(event, field="tags"):
    change = event.diff[field]
    return [item["repr"] for item in change.added], [item["repr"] for item in change.removed]


def test_add_names_only_what_was_linked_19(policy, tags):
    policy.tags.add(*tags[1:])
    with captured_events() as events, audit_context(reason="apart"):
        policy.tags.add(*tags)
    assert links(events.one("update", policy)) == (["Critical"], [])


def test_an_add_that_adds_nothing_is_no_event_19(policy, tags):
    policy.tags.add(tags[0])
    with captured_events() as events:
        policy.tags.add(tags[0])
        policy.tags.remove(tags[1])
        policy.tags.set([tags[0]])
    events.assert_nothing_recorded()


def test_remove_19(policy, tags):
    policy.tags.add(*tags)
    with captured_events() as events:
        policy.tags.remove(tags[0], tags[2])
    assert links(events.one("update", policy)) == ([], ["Critical", "Old"])


def test_set_is_one_event_19(policy, tags):
    policy.tags.add(tags[1])
    with captured_events() as events:
        policy.tags.set([tags[0], tags[2]])
    assert links(events.one("update", policy)) == (["Critical", "Old"], ["Legacy"])


def test_clear_19(policy, tags):
    policy.tags.add(*tags)
    with captured_events() as events:
        policy.tags.clear()
    assert links(events.one("update", policy)) == ([], ["Critical", "Legacy", "Old"])


def test_the_other_side_19(policy, tags):
    with captured_events() as events:
        tags[0].policies.add(policy)
    assert links(events.one("update", policy)) == (["Critical"], [])
    with captured_events() as events:
        tags[0].policies.clear()
    assert links(events.one("update", policy)) == ([], ["Critical"])


def test_a_save_and_its_relations_are_one_event(policy, tags):
    """What a form does: save(), then save_m2m()."""
    with captured_events() as events, transaction.atomic():
        policy.status = "approved"
        policy.save()
        policy.tags.set([tags[0]])
    event = events.one()
    assert {"status", "tags"} <= event.diff.keys()
    [sentence] = GrammarSummarizer().summarize([event], "en")
    assert sentence == (
        "The system changed the status of policy P-1 from Draft to Approved, and added the tag Critical."
    )


def test_another_savepoint_is_another_event(policy, tags):
    with captured_events() as events:
        policy.status = "approved"
        policy.save()
        with transaction.atomic():
            policy.tags.add(tags[0])
    assert len(events) == 2


def test_another_actor_is_another_event(policy, tags):
    with captured_events() as events:
        policy.status = "approved"
        policy.save()
        with audit_context(actor="bob"):
            policy.tags.add(tags[0])
    assert [event.actor and event.actor.username for event in events] == [None, "bob"]


def test_what_is_undone_in_the_same_breath_is_no_event(policy, tags):
    with captured_events() as events:
        policy.tags.add(tags[0])
        policy.tags.remove(tags[0])
    events.assert_nothing_recorded()


def test_symmetrical_relations_change_both_19():
    anna, bert = Member.objects.create(code="anna"), Member.objects.create(code="bert")
    with captured_events() as events:
        anna.friends.add(bert)
    assert {(event.target.id, event.diff["friends"].added[0]["pk"]) for event in events} == {
        ("anna", "bert"),
        ("bert", "anna"),
    }
    with captured_events() as events:
        bert.friends.clear()
    assert {event.target.id for event in events} == {"anna", "bert"}


def test_a_through_model_with_defaults_19():
    member, groups = Member.objects.create(code="m"), [Group.objects.create(name=name) for name in "ab"]
    with captured_events() as events:
        member.groups.add(*groups, through_defaults={"role": "chair"})
    assert links(events.one("update", member), "groups") == (["a", "b"], [])


def test_relations_that_are_not_audited_cost_nothing(tags, django_assert_num_queries):
    unaudited = Unaudited.objects.create(name="x")
    with django_assert_num_queries(1):
        unaudited.tags.add(tags[0])  # one INSERT that ignores conflicts: nobody listens to its signal


def test_it_is_rolled_back_with_its_block_19(policy, tags):
    with captured_events() as events, pytest.raises(RuntimeError), transaction.atomic():
        policy.tags.add(tags[0])
        raise RuntimeError
    events.assert_nothing_recorded()


class TestRowsOfTheThroughTable:
    """Links that are made, moved and cut without the field's manager, as imports and merges of two objects do."""

    Link = Policy.tags.through

    @pytest.fixture
    def link(self, policy, tags):
        policy.tags.add(tags[0])
        return self.Link.objects.get()

    def test_bulk_create(self, policy, tags):
        with captured_events() as events:
            self.Link.objects.bulk_create(self.Link(policy=policy, tag=tag) for tag in tags[:2])
        assert links(events.one("update", policy)) == (["Critical", "Legacy"], [])

    def test_bulk_create_that_ignores_conflicts(self, policy, tags, link):
        rows = [self.Link(policy=policy, tag=tag) for tag in tags]
        with captured_events() as events, audit_context(reason="apart"):
            self.Link.objects.bulk_create(rows, ignore_conflicts=True)
        assert links(events.one("update", policy)) == (["Legacy", "Old"], [])

    def test_bulk_create_that_updates_conflicts(self, policy, tags, link):
        how = {"unique_fields": ["id"]} if connection.features.supports_update_conflicts_with_target else {}
        with captured_events() as events, audit_context(reason="apart"):
            self.Link.objects.bulk_create(
                [self.Link(pk=link.pk, policy=policy, tag=tags[2])],
                update_conflicts=True,
                update_fields=["tag"],
                **how,
            )
        assert links(events.one("update", policy)) == (["Old"], ["Critical"])

    def test_create_and_delete(self, policy, tags):
        with captured_events() as events, transaction.atomic():
            self.Link.objects.get_or_create(policy=policy, tag=tags[0])
        assert links(events.one("update", policy)) == (["Critical"], [])
        with captured_events() as events, audit_context(reason="apart"):
            self.Link.objects.get_or_create(policy=policy, tag=tags[0])
            self.Link.objects.filter(tag=tags[0]).delete()
        assert links(events.one("update", policy)) == ([], ["Critical"])

    def test_a_row_that_is_saved_for_another_object(self, policy, tags, link):
        with captured_events() as events, audit_context(reason="apart"):
            link.tag = tags[1]
            link.save()
            link.save()
        assert links(events.one("update", policy)) == (["Legacy"], ["Critical"])

    def test_two_objects_are_merged_by_update(self, policy, tags, link):
        with captured_events() as events, audit_context(reason="apart"):
            assert self.Link.objects.filter(tag=tags[0]).update(tag=tags[2]) == 1
        assert links(events.one("update", policy)) == (["Old"], ["Critical"])

    def test_bulk_update(self, policy, tags, link):
        link.tag = tags[1]
        with captured_events() as events, audit_context(reason="apart"):
            self.Link.objects.bulk_update([link], ["tag"])
        assert links(events.one("update", policy)) == (["Legacy"], ["Critical"])

    def test_a_link_that_moves_from_one_object_to_another(self, policy, tags, link):
        other = Policy.objects.create(number="P-2", customer=policy.customer)
        with captured_events() as events, audit_context(reason="apart"):
            self.Link.objects.update(policy=other)
        assert links(events.one("update", policy)) == ([], ["Critical"])
        assert links(events.one("update", other)) == (["Critical"], [])

    def test_a_key_as_a_form_sends_it(self):
        member, group = Member.objects.create(code="m"), Group.objects.create(name="g")
        with captured_events() as events:
            Membership.objects.create(member=member, group_id=str(group.pk))
        assert links(events.one("update", member), "groups") == (["g"], [])

    def test_what_is_no_link_moves_none(self, django_assert_num_queries):
        member, group = Member.objects.create(code="m"), Group.objects.create(name="g")
        Membership.objects.create(member=member, group=group)
        with captured_events() as events, transaction.atomic(), django_assert_num_queries(2):
            Membership.objects.update(role="chair")  # SELECT … FOR UPDATE, UPDATE
        assert [event.target.type for event in events] == ["testapp.Membership"]

    def test_a_row_that_the_instance_in_hand_no_longer_describes(self, tags, policy, link):
        stale = self.Link.objects.get()
        self.Link.objects.update(tag=tags[1])
        with captured_events() as events, audit_context(reason="apart"):
            stale.delete()
        assert links(events.one("update", policy)) == ([], ["Legacy"])

    def test_fields_on_both_sides(self):
        person, club = Person.objects.create(code="p"), Club.objects.create(code="c")
        with captured_events() as events:
            Seat.objects.create(person=person, club=club)
        assert links(events.one("update", person), "clubs")[0] == [str(club)]
        assert links(events.one("update", club), "persons")[0] == [str(person)]
        with captured_events() as events, audit_context(reason="apart"):
            club.persons.clear()
        assert links(events.one("update", person), "clubs")[1] == [str(club)]
        assert links(events.one("update", club), "persons")[1] == [str(person)]

    def test_capture_that_is_off_is_counted_once_20(self, tags, link):
        with disabled(reason="import") as off:
            self.Link.objects.update(tag=tags[1])
        assert off.skipped == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one writer at a time")
def test_a_link_that_another_transaction_makes_meanwhile_is_not_made_twice(policy, tags):
    def work():
        policy.tags.add(tags[0])
        connections.close_all()

    def interfere(execute, sql, params, many, context):
        if sql.startswith("INSERT") and "policy_tags" in sql:
            other = threading.Thread(target=work)
            other.start()
            other.join()
        return execute(sql, params, many, context)

    with captured_events() as events, connection.execute_wrapper(interfere):
        policy.tags.add(tags[0])
    assert links(events.one("update", policy)) == (["Critical"], [])
