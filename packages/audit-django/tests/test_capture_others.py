"""Libraries that wrap what we wrap, before us and after us, and pools of connections (trap 57)."""

import json

import pytest
import worker_process
from django.db import connection

from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db(transaction=True)

WORK = """
import functools, json, sys
from collections import Counter

import django
from django.db import connection, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.models.deletion import Collector

calls = Counter()

def count(owner, *names):
    for name in names:
        def wrap(name, original):
            @functools.wraps(original)
            def method(self, *args, **kwargs):
                calls[f"{owner.__name__}.{name}"] += 1
                return original(self, *args, **kwargs)
            setattr(owner, name, method)
        wrap(name, getattr(owner, name))

def trace(execute, sql, params, many, context):
    calls["statements"] += 1
    if connection.vendor == "postgresql" and sql.startswith(("INSERT", "UPDATE", "DELETE")):
        # as django-pghistory hands a context to its triggers
        with connection.connection.cursor() as cursor:
            cursor.execute("SELECT set_config('app.user', 'alice', true)")
    return execute(f"{sql} /* traced */", params, many, context)

class Timed:
    # a cursor of one's own around Django's, as django-debug-toolbar has one
    def __init__(self, cursor):
        self.cursor = cursor
    def execute(self, sql, params=None):
        calls["timed"] += 1
        return self.cursor.execute(sql, params)
    def __getattr__(self, name):
        return getattr(self.cursor, name)
    def __iter__(self):
        return iter(self.cursor)
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self.cursor.close()

def wrap_connection(sender, connection, **kwargs):
    connection.execute_wrappers.append(trace)
    if "cursor" not in vars(connection):
        cursor = connection.cursor
        connection.cursor = lambda *args, **kwargs: Timed(cursor(*args, **kwargs))

def wrap():
    count(models.Model, "save", "delete", "save_base", "_save_table")
    count(models.QuerySet, "update", "delete", "bulk_create", "get_or_create")
    count(Collector, "delete")
    count(BaseDatabaseWrapper, "commit", "rollback", "savepoint", "savepoint_rollback", "set_autocommit")
    connection_created.connect(wrap_connection)

if sys.argv[1] == "before":
    wrap()
django.setup()
if sys.argv[1] == "after":
    wrap()

from audit_django.models import AuditEvent
from testapp.models import Customer, Member, Place, Policy, Restaurant, Tag

def work():
    tag = Tag.objects.create(name="a")
    tag.name = "b"
    tag.save()
    with transaction.atomic():
        Tag.objects.update(name="c")
        assert AuditEvent.objects.filter(target_type="testapp.Tag").count() == 3
        try:
            with transaction.atomic():
                Tag.objects.create(name="lost")
                raise RuntimeError
        except RuntimeError:
            pass
    policy = Policy.objects.create(number="P", customer=Customer.objects.get_or_create(name="Jane")[0])
    policy.tags.add(tag)
    Member.objects.bulk_create([Member(code="m"), Member(code="n")], ignore_conflicts=True)
    restaurant = Restaurant.objects.create(name="r")
    restaurant.stars = 2
    restaurant.save()
    restaurant.delete()
    policy.delete()
    Member.objects.all().delete()
    try:
        with transaction.atomic():
            Tag.objects.create(name="lost")
            raise RuntimeError
    except RuntimeError:
        pass

work()
print(json.dumps(calls))
"""

EVENTS = [
    *("create Tag", "update Tag", "update Tag", "create Customer", "create Policy", "update Policy"),
    *("create Member", "create Member", "create Restaurant", "update Restaurant", "delete Restaurant"),
    *("delete Policy", "delete Member", "delete Member"),
]


def work(order, **database):
    """What was recorded, and how often each of the other library's wrappers was called."""
    with captured_events() as events, worker_process.start(WORK, order, **database) as process:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    told = [f"{event.action} {event.target.type.partition('.')[2]}" for event in events]
    return told, json.loads(out)


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_chain_holds_57(order):
    told, calls = work(order)
    assert told == EVENTS
    assert calls.keys() == {
        *("Model.save", "Model.delete", "Model.save_base", "Model._save_table"),
        *("QuerySet.update", "QuerySet.delete", "QuerySet.bulk_create", "QuerySet.get_or_create"),
        *(
            f"BaseDatabaseWrapper.{name}"
            for name in ("commit", "rollback", "savepoint", "savepoint_rollback")
        ),
        *("BaseDatabaseWrapper.set_autocommit", "Collector.delete", "statements", "timed"),
    }
    assert calls["Model.save"] == 8  # those of the work, and none of ours
    assert calls["QuerySet.update"] == 1
    assert calls["Collector.delete"] == 3


@pytest.mark.skipif(connection.vendor != "postgresql", reason="Django pools connections of PostgreSQL alone")
def test_a_pool_of_connections_57():
    told, _ = work("after", OPTIONS={"pool": {"min_size": 1, "max_size": 2}})
    assert told == EVENTS
