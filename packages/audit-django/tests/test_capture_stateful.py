"""Random writes of every kind, in transactions and savepoints that fail, on two databases: the events rebuild the tables."""

import contextlib
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import Case, F, Value, When
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from testapp.models import Claim, Customer, Gauge, Member, Place, Policy, Restaurant, Tag

from audit_django import register, registry
from audit_django.capture import save, update
from audit_django.capture.pending import Pending
from audit_django.fields import FieldSpec
from audit_django.models import AuditEvent, OutboxEntry

MODELS = (Tag, Customer, Policy, Claim, Gauge, Restaurant, Member)
ALIASES = ("default", "other")

pytestmark = pytest.mark.django_db(transaction=True, databases=ALIASES)

names = st.sampled_from(["a", "b", "Ärzte", "", "x" * 20])
amounts = st.integers(0, 9)
picks = st.integers(0, 7)
aliases = st.sampled_from(ALIASES)


def tables(using):
    """What the database holds: of each row the values that are not null, links included."""
    found = {}
    for model in MODELS:
        tracked = registry.tracked(model)
        for row in model._base_manager.using(using):
            specs = [spec for spec in tracked.fields if not spec.sensitive]
            values = {spec.name: spec.plain(getattr(row, spec.attname)) for spec in specs}
            for spec in tracked.m2m:
                keys = getattr(row, spec.field.name).values_list("pk", flat=True)
                values[spec.field.name] = sorted(map(str, keys)) or None
            key = tracked.target(row.pk, None).key
            found[key] = {name: value for name, value in values.items() if value is not None}
    return found


def replayed(using):
    """The same, made of the events alone. Each must begin with what the one before it ended with."""
    found = {}
    for row in AuditEvent.objects.using(using).order_by("number"):
        event = row.event
        key = event.target.key
        if event.action == "create":
            assert key not in found, f"{key} is created twice"
            found[key] = {}
        values = found[key]
        for name, change in event.diff.items():
            if change.sensitive:
                continue
            if change.relation == "many_to_many":
                links = set(values.get(name, ()))
                added = {str(reference["pk"]) for reference in change.added}
                removed = {str(reference["pk"]) for reference in change.removed}
                assert not added & links, f"{name} of {key} has {added} already"
                assert removed <= links, f"{name} of {key} does not have {removed}"
                values[name] = sorted(links - removed | added)
            else:
                assert pk_or_value(change.before) == values.get(name), f"{name} of {key}: {change.before}"
                values[name] = pk_or_value(change.after)
            if values[name] in (None, []):
                del values[name]
        if event.action == "delete":
            assert values == {}, f"{key} is deleted with {values} left"
            del found[key]
    return found


def pk_or_value(value):
    return value["pk"] if isinstance(value, dict) and value.keys() == {"pk", "repr"} else value


class Writes(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.open = {using: [] for using in ALIASES}
        links = [field.remote_field.through for model in MODELS for field in model._meta.many_to_many]
        emptied = [*links, *reversed(MODELS), Place, AuditEvent, OutboxEntry]
        for using in ALIASES:
            with connections[using].cursor() as cursor:
                for model in emptied:
                    cursor.execute(f"DELETE FROM {model._meta.db_table}")

    @initialize(using=aliases)
    def something_is_there(self, using):
        for alias in ALIASES:
            Customer.objects.using(alias).create(name="first")
            Tag.objects.using(alias).create(name="first")

    def pick(self, model, using, n):
        """One of the rows, or None."""
        rows = list(model._base_manager.using(using).order_by("pk"))
        return rows[n % len(rows)] if rows else None

    @contextlib.contextmanager
    def may_fail(self, using):
        """A write that the database may refuse does not end the transaction around it."""
        with contextlib.suppress(IntegrityError), transaction.atomic(using=using):
            yield

    # transactions

    @rule(using=aliases)
    def begin(self, using):
        if len(self.open[using]) < 3:
            block = transaction.atomic(using=using)
            block.__enter__()
            self.open[using].append(block)

    @precondition(lambda self: any(self.open.values()))
    @rule(using=aliases, fails=st.booleans())
    def end(self, using, fails):
        if self.open[using]:
            error = (RuntimeError, RuntimeError(), None) if fails else (None, None, None)
            self.open[using].pop().__exit__(*error)

    @rule(using=aliases, name=names, amount=amounts)
    def think_better_of_a_part(self, using, name, amount):
        with transaction.atomic(using=using):
            Tag.objects.using(using).get_or_create(name=name)
            with contextlib.suppress(RuntimeError), transaction.atomic(using=using):
                Restaurant.objects.using(using).create(name=name, stars=amount)
                Policy.objects.using(using).update(notes=name)
                raise RuntimeError

    # objects

    @rule(using=aliases, name=names, amount=amounts, pick=picks)
    def create(self, using, name, amount, pick):
        customer = self.pick(Customer, using, pick)
        if customer:
            policy = Policy(number=name, customer=customer, premium=str(amount), coverage={name: [amount]})
            policy.save(using=using)
            Claim.objects.using(using).create(policy=policy, amount=amount)
        Tag.objects.db_manager(using).get_or_create(name=name)
        Restaurant.objects.using(using).create(name=name, stars=amount)

    @rule(using=aliases, pick=picks, amount=amounts, name=names)
    def change(self, using, pick, amount, name):
        if policy := self.pick(Policy, using, pick):
            policy.premium = amount
            policy.notes = name
            policy.coverage.setdefault("more", []).append(amount)
            policy.save()
        if place := self.pick(Restaurant, using, pick):
            place.name, place.stars = name, amount
            place.save(update_fields=["name"] if amount % 2 else None)

    @rule(using=aliases, pick=picks, amount=amounts)
    def change_twice_from_stale_instances(self, using, pick, amount):
        one, two = self.pick(Policy, using, pick), self.pick(Policy, using, pick)
        if one:
            one.premium, two.status = amount, "approved"
            one.save()
            two.save()

    @rule(using=aliases, pick=picks, amount=amounts)
    def change_by_an_expression(self, using, pick, amount):
        if policy := self.pick(Policy, using, pick):
            policy.premium = F("premium") + amount
            policy.save(update_fields=["premium"])

    @rule(using=aliases, qty=amounts, price=amounts)
    def save_what_may_be_there(self, using, qty, price):
        with self.may_fail(using):
            Gauge(qty=qty, price=price).save(using=using)
        Gauge.objects.using(using).update_or_create(qty=qty, defaults={"price": price})

    @rule(using=aliases, pick=picks)
    def delete(self, using, pick):
        if policy := self.pick(Policy, using, pick):
            policy.delete()
        if pick % 3 == 0 and (tag := self.pick(Tag, using, pick)):
            tag.delete()
        if pick % 4 == 0 and (place := self.pick(Restaurant, using, pick)):
            place.delete()

    # many rows

    @rule(using=aliases, amount=amounts, name=names)
    def update(self, using, amount, name):
        Policy.objects.using(using).filter(premium__lt=amount).update(notes=name, premium=Decimal(amount))
        Restaurant.objects.using(using).filter(stars__lte=amount).update(name=name, stars=F("stars") + 1)

    @rule(using=aliases, amount=amounts)
    def update_by_expressions(self, using, amount):
        Policy.objects.using(using).update(
            premium=Case(When(premium__lt=amount, then=F("premium") * 2), default=Value(Decimal(1)))
        )
        Claim.objects.using(using).filter(policy__premium__gte=amount).update(amount=F("amount") + amount)
        with self.may_fail(using):
            Gauge.objects.using(using).filter(price__gt=amount).update(qty=amount)

    @rule(
        using=aliases,
        amounts=st.lists(amounts, min_size=1, max_size=4),
        how=st.sampled_from(["", "ignore", "update"]),
    )
    def bulk_create(self, using, amounts, how):
        gauges = [Gauge(qty=qty, price=len(amounts)) for qty in amounts]
        options = {
            "ignore": {"ignore_conflicts": True},
            "update": {"update_conflicts": True, "update_fields": ["price"]},
        }
        options = options.get(how, {})
        if how == "update":
            gauges = list(
                {gauge.qty: gauge for gauge in gauges}.values()
            )  # a statement may not change a row twice
            if connection.features.supports_update_conflicts_with_target:
                options["unique_fields"] = ["qty"]
        with self.may_fail(using):
            Gauge.objects.using(using).bulk_create(gauges, **options)
        if how == "ignore":
            Member.objects.using(using).bulk_create(
                [Member(code=f"m{n}") for n in amounts], ignore_conflicts=True
            )

    @rule(using=aliases, amount=amounts)
    def bulk_update(self, using, amount):
        policies = list(Policy.objects.using(using))
        for n, policy in enumerate(policies):
            policy.premium = (n + amount) % 3
        Policy.objects.using(using).bulk_update(policies, ["premium"], batch_size=2)

    @rule(using=aliases, amount=amounts)
    def delete_many(self, using, amount):
        Claim.objects.using(using).filter(amount__gt=amount).delete()
        Gauge.objects.using(using).filter(price=amount).delete()

    # relations

    @rule(
        using=aliases,
        pick=picks,
        other=picks,
        how=st.sampled_from(["add", "remove", "set", "clear", "reverse"]),
    )
    def link(self, using, pick, other, how):
        policy, tag = self.pick(Policy, using, pick), self.pick(Tag, using, other)
        if policy and tag:
            {
                "add": lambda: policy.tags.add(tag),
                "remove": lambda: policy.tags.remove(tag),
                "set": lambda: policy.tags.set([tag]),
                "clear": lambda: policy.tags.clear(),
                "reverse": lambda: tag.policies.set(Policy.objects.using(using).filter(premium__gt=pick)),
            }[how]()
        one, two = self.pick(Member, using, pick), self.pick(Member, using, other)
        if one and one != two:
            (one.friends.add if how != "remove" else one.friends.remove)(two)

    @rule(using=aliases, pick=picks, other=picks, how=st.sampled_from(["make", "merge", "move", "cut"]))
    def link_by_rows(self, using, pick, other, how):
        rows = Policy.tags.through.objects.using(using)
        policy, tag = self.pick(Policy, using, pick), self.pick(Tag, using, other)
        if policy and tag and how == "make":
            rows.bulk_create([rows.model(policy=policy, tag=tag)], ignore_conflicts=True)
        elif policy and tag and how == "merge":
            with self.may_fail(using):
                rows.filter(policy=policy).update(tag=tag)
        elif row := self.pick(rows.model, using, pick):
            if how == "cut":
                row.delete()
            elif tag:
                row.tag = tag
                with self.may_fail(using):
                    row.save()

    @rule(using=aliases, pick=picks, name=names)
    def move(self, using, pick, name):
        customer = self.pick(Customer, using, pick)
        if customer:
            other = Customer.objects.using(using).create(name=name)
            other.policies.add(*Policy.objects.using(using).filter(customer=customer)[:2])

    def teardown(self):
        for blocks in self.open.values():
            while blocks:
                blocks.pop().__exit__(None, None, None)
        for using in ALIASES:
            assert replayed(using) == tables(using)


def play(examples, steps, **options):
    run_state_machine_as_test(
        Writes,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **options,
        ),
    )


def test_the_replayed_events_equal_the_database():
    play(examples=60, steps=30)


def skip_update(monkeypatch):
    """``update()`` is not seen."""
    monkeypatch.setattr(update, "capture_is_off", lambda: True)


def trust_the_instance(monkeypatch):
    """What an instance was loaded with is taken for what the database held."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    for model in (Policy, Restaurant):
        register(model, before="instance")


def forget_savepoints(monkeypatch):
    """The events of a savepoint that is rolled back stay."""
    monkeypatch.setattr(Pending, "rollback_to", lambda self, sid: None)


def compare_before_normalizing(monkeypatch):
    """A value counts as it stands in the instance."""
    monkeypatch.setattr(FieldSpec, "plain_written", lambda self, value, vendor: self.plain(value))


def keep_what_failed(monkeypatch):
    """The values before a save are not read under a lock but taken from what comes after."""
    monkeypatch.setattr(save.database, "read", lambda *args, **kwargs: None)


@pytest.mark.parametrize(
    "mutant",
    [skip_update, trust_the_instance, forget_savepoints, compare_before_normalizing, keep_what_failed],
    ids=lambda mutant: mutant.__name__,
)
def test_a_mutant_is_caught(monkeypatch, mutant):
    mutant(monkeypatch)
    try:
        with pytest.raises(AssertionError):
            play(examples=200, steps=30, phases=[Phase.generate], print_blob=False, derandomize=True)
    finally:
        monkeypatch.undo()
        registry.forget()
