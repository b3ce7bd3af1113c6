"""The timeline over storages other than the application's own database: ``AUDIT["QUERY"]``."""

import contextlib
import os
import re
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.template import Context as TemplateContext
from django.template import Template
from django.test import RequestFactory
from django.urls import reverse
from testapp.models import Policy
from timeline_data import ALICE, BOB, REQUEST, customer, diff, event, policy, record, showcase, text

from audit_core.errors import ConfigurationError, RetryableError
from audit_core.log import SEQUENCER, SUMMARIES
from audit_core.query import EventQuery, InvalidQuery, Page
from audit_django import backends
from audit_django.models import AuditEvent
from audit_django.relay import get_relay

pytestmark = pytest.mark.django_db
TIMELINE = "/audit/"


@contextlib.contextmanager
def dynamodb(address, monkeypatch):
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "not-a-secret"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    yield {
        "table": f"test-{uuid4()}",
        "region": "eu-central-1",
        "endpoint_url": address,
        "point_in_time_recovery": False,
    }
    storage = backends.storage("search")
    storage._client.get().delete_table(TableName=storage.table)


@contextlib.contextmanager
def mongodb(address, monkeypatch):
    name = f"audit_test_{uuid4().hex[:8]}"
    yield {"uri": address, "database": name}
    backends.storage("search")._client.drop_database(name)


@contextlib.contextmanager
def opensearch(address, monkeypatch):
    name = f"test-{uuid4().hex[:12]}"
    replicas = {"number_of_replicas": 0}
    yield {
        "hosts": address,
        "index": name,
        "refresh": True,
        "retention_days": None,
        "index_settings": replicas,
    }
    indices = backends.storage("search")._connection.client().indices
    for index in indices.get_alias(index=f"{name}*"):
        indices.delete(index=index)
    indices.delete_index_template(name=f"{name}*", ignore=404)


@contextlib.contextmanager
def memory(address, monkeypatch):
    yield {}


def store(make):
    marks = [] if make is memory else [pytest.mark.integration]
    return pytest.param(make, id=make.__name__, marks=marks)


@pytest.fixture(params=[store(make) for make in (memory, dynamodb, mongodb, opensearch)])
def search(request, settings, monkeypatch):
    """The settings of a project that reads this storage."""
    make = request.param
    variable = f"AUDIT_TEST_{make.__name__.upper()}"
    address = os.environ.get(variable)
    if make is not memory and not address:
        pytest.skip(f"{variable} names no server")
    with make(address, monkeypatch) as options:
        settings.AUDIT = {
            "STORAGES": {
                "default": {"BACKEND": "database"},
                "search": {"BACKEND": make.__name__, "OPTIONS": options},
            },
            "QUERY": "search",
        }
        storage = backends.storage("search")
        if make is not memory:
            storage.setup()
        yield storage
    backends.close()


@pytest.fixture
def reader(client, db):
    user = User.objects.create_user("carol", password="a password")
    user.user_permissions.add(Permission.objects.get(codename="view_audit_log"))
    client.force_login(user)
    return client


@pytest.fixture
def told(search, reader):
    """The showcase, delivered to the storage, and gone from the database."""
    AuditEvent.objects.all().delete()  # logging in and the like is recorded too
    events = record(*showcase())
    get_relay("default").run_once(only=[SEQUENCER, SUMMARIES, "search"])
    AuditEvent.objects.all().delete()  # whatever is shown now comes from the storage
    return events


def ids(page):
    return re.findall(r'<li class="audit-row" id="e-([-0-9a-f]+)"', page)


def wanted(events, condition):
    return [str(item.id) for item in reversed(events) if condition(item.event)]


def is_of(item, model, id=None):
    return item.target is not None and item.target.type == model and id in (None, item.target.id)


CASES = {
    "": lambda item: True,
    "?q=Terms+insur": lambda item: item.target is not None and item.target.repr.startswith("Terms"),
    "?q=unicorn": lambda item: False,
    "?actor=2": lambda item: item.actor is not None and item.actor.id == "2",
    "?model=testapp.Policy": lambda item: is_of(item, "testapp.Policy"),
    "?model=testapp.Policy&object=7": lambda item: is_of(item, "testapp.Policy", "7"),
    "?action=login": lambda item: item.action == "login",
    "?request=req-42": lambda item: item.context.request_id == "req-42",
    "?q=approved&actor=1&model=testapp.Policy&range=7d": lambda item: item.tenant == "north",
}


@pytest.mark.parametrize("filters", CASES)
def test_every_filter_of_the_timeline_is_answered(told, reader, filters, monkeypatch):
    response = reader.get(TIMELINE + filters)
    page = response.content.decode()
    assert response.status_code == 200
    expected = wanted(told, CASES[filters])
    if "object=" in filters:
        assert sorted(ids(page)) == sorted(expected)  # in the order of recording
    else:
        assert ids(page) == expected


def test_an_event_its_neighbors_and_its_json(told, reader):
    last = told[-1]
    page = reader.get(reverse("audit:event", args=[last.id])).content.decode()
    assert f"{reverse('audit:event', args=[told[-2].id])}" in page  # of the same request
    assert reader.get(reverse("audit:event-json", args=[last.id])).json()["id"] == str(last.id)
    assert reader.get(reverse("audit:event", args=[uuid4()])).status_code == 404


def test_pages_news_hints_and_actors(told, reader, monkeypatch):
    monkeypatch.setattr("audit_django.timeline.views.PAGE_SIZE", 5)
    seen, address = [], TIMELINE
    while address:
        page = reader.get(address).content.decode()
        seen += ids(page)
        older = re.search(r'audit-older"><a class="audit-button" href="([^"]+)"', page)
        address = TIMELINE + older[1].replace("&amp;", "&") if older else None
    assert seen == wanted(told, lambda item: True)
    news = re.search(r'hx-get="([^"]+after=[^"]+)"', reader.get(TIMELINE).content.decode())[1]
    record(event("create", target=policy("P-1", "1")))
    get_relay("default").run_once()
    assert "1 new change" in reader.get(news.replace("&amp;", "&")).content.decode()
    hints = reader.get(reverse("audit:hints") + "?q=unicorn&actor=2").content.decode()
    assert "?actor=2" in hints
    assert ALICE.repr in reader.get(reverse("audit:actors")).content.decode()


def test_the_history_of_an_object_in_a_page_of_the_project(told, reader, rf: RequestFactory):
    request = rf.get("/")
    request.user = User.objects.get(username="carol")
    template = Template("{% load audit %}{% audit_timeline policy %}")
    page = template.render(TemplateContext({"request": request, "policy": Policy(pk=7)}))
    assert page.count('<li class="audit-row">') == len(wanted(told, CASES["?model=testapp.Policy&object=7"]))


def test_people_see_the_events_of_their_tenants_alone(told, reader, monkeypatch):
    monkeypatch.setattr("audit_django.conf.AuditSettings.tenants_of", lambda settings, user: ["north"])
    mine, others = told[-1], told[-2]
    assert ids(reader.get(TIMELINE).content.decode()) == [str(mine.id)]
    assert reader.get(reverse("audit:event", args=[mine.id])).status_code == 200
    assert reader.get(reverse("audit:event", args=[others.id])).status_code == 404


class Troubled:
    """A storage that answers with what it is given."""

    answer = None

    def write(self, events):
        raise AssertionError("nothing is written here")

    def get(self, event_id):
        raise KeyError(event_id)

    def search(self, query: EventQuery) -> Page:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def troubled(settings, reader, monkeypatch):
    """The page of a storage that answers so."""
    settings.AUDIT = {"STORAGES": {"search": {"BACKEND": "memory"}}, "QUERY": "search"}
    storage = Troubled()
    monkeypatch.setattr(backends, "storage", lambda name: storage)

    def page(answer, address=TIMELINE):
        storage.answer = answer
        response = reader.get(address)
        return response.status_code, response.content.decode()

    return page


def test_a_filter_without_an_index_is_named(troubled):
    problem = InvalidQuery("There is no index for actions. Ask for <one> object.", filter="actions")
    status, page = troubled(problem, TIMELINE + "?action=login&actor=2")
    assert status == 400
    assert "There is no index for actions. Ask for &lt;one&gt; object." in page
    assert re.findall(r">Drop the filter (\w+)</a>", page) == ["Action"]
    status, page = troubled(problem, reverse("audit:actors"))
    assert (status, "There is no index for actions." in page) == (400, True)


def test_a_page_that_ended_early_goes_on(troubled):
    status, page = troubled(Page(next="eyJ4"), TIMELINE + "?action=login")
    assert (status, "Look further back" in page, "Nothing matches" in page) == (200, True, False)
    assert "cursor=eyJ4" in page


def test_a_storage_that_needs_an_operator_says_so_and_nothing_more(troubled, caplog):
    status, page = troubled(ConfigurationError("The index secret-name is missing. Run setup."))
    assert status == 503
    assert "manage.py audit check" in page
    assert "secret-name" not in page
    assert "secret-name" in caplog.text
    status, page = troubled(RetryableError("connection refused"))
    assert (status, "manage.py audit check" in page) == (503, False)


def test_an_event_is_shown_when_its_neighbors_cannot_be(search, reader, monkeypatch):
    [recorded] = record(
        event(context=REQUEST, actor=BOB, target=customer(), diff=diff(text("name", "a", "b")))
    )
    get_relay("default").run_once()
    problem = InvalidQuery("no index for requests", filter="request_id")

    def refuse(query):
        raise problem

    monkeypatch.setattr(search, "search", refuse)
    response = reader.get(reverse("audit:event", args=[recorded.id]))
    assert (response.status_code, "From the same request" in response.content.decode()) == (200, False)
