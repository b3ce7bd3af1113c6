"""``{% audit_timeline object %}`` in any page."""

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db import OperationalError
from django.template import Context, Template
from testapp.models import Place, Policy, PolicyProxy, Restaurant
from timeline_data import OWNER, STATUS, diff, event, policy, record

from audit_core.event import Target
from audit_django.storages.database import DatabaseStorage

pytestmark = pytest.mark.django_db


@pytest.fixture
def reader(db):
    user = User.objects.create_user("carol")
    user.user_permissions.add(Permission.objects.get(codename="view_audit_log"))
    return user


@pytest.fixture
def render(rf):
    def render(user, instance, options=""):
        request = rf.get("/")
        request.user = user
        template = Template("[{% load audit %}{% audit_timeline object " + options + " %}]")
        return template.render(Context({"request": request, "object": instance})).replace("\n", "")

    return render


def only_south(user):
    return ["south"]


def test_an_objects_history_with_its_diffs(render, reader):
    record(event(diff=diff(STATUS, OWNER)), event(target=policy("P-8", "8")))
    html = render(reader, Policy(pk=7))
    assert "audit-embed" in html
    assert "Approved" in html
    assert "P-8" not in html
    assert 'href="/audit/?model=testapp.Policy&amp;object=7"' in html
    assert "<script" not in html
    assert "audit-bar" not in html


def test_nothing_for_who_may_not_see_it(render, reader, django_user_model):
    record(event())
    for user in (AnonymousUser(), django_user_model.objects.create_user("dave")):
        assert render(user, Policy(pk=7)) == "[]"
    assert render(reader, Policy()) == "[]"
    without_request = Template("{% load audit %}{% audit_timeline object %}")
    assert without_request.render(Context({"object": Policy(pk=7)})).strip() == ""


def test_only_the_users_tenants(render, reader, settings):
    record(event(tenant="north"))
    settings.AUDIT = {"TENANTS_OF_USER": f"{__name__}.only_south"}
    assert "No change has been recorded yet." in render(reader, Policy(pk=7))


def test_a_proxy_has_its_models_history_and_a_parent_its_childs_14(render, reader):
    record(
        event(), event(target=Target(type="testapp.Restaurant", id="3", repr="Chez Nous", kind="restaurant"))
    )
    assert "P-1007" in render(reader, PolicyProxy(pk=7))
    assert "Chez Nous" in render(reader, Place(pk=3))
    assert "Chez Nous" in render(reader, Restaurant(pk=3))


def test_a_limit_says_that_there_is_more(render, reader):
    record(*(event() for _ in range(4)))
    html = render(reader, Policy(pk=7), "limit=3")
    assert html.count('class="audit-row"') == 3
    assert "Whole history" in html


def test_an_embedded_history_costs_a_fixed_number_of_queries(render, reader, django_assert_num_queries):
    record(*(event() for _ in range(9)))
    render(reader, Policy(pk=7))  # the permissions are read once
    with django_assert_num_queries(3):
        render(reader, Policy(pk=7))


def test_a_storage_that_does_not_answer_leaves_the_page_alone(render, reader, monkeypatch, caplog):
    def search(self, query):
        raise OperationalError("gone")

    monkeypatch.setattr(DatabaseStorage, "search", search)
    html = render(reader, Policy(pk=7))
    assert "cannot be read right now" in html
    assert "testapp.Policy 7" in caplog.text
