"""Many-to-many relations, from every side and in every way (trap 19)."""

import pytest
from django.db import transaction
from testapp.models import Customer, Group, Member, Policy, Tag, Unaudited

from audit_core.summarizers.grammar import GrammarSummarizer
from audit_django import audit_context
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
