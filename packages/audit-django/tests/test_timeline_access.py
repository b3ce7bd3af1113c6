"""Who sees the timeline, and what the others see."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.urls import reverse
from timeline_data import BOB, event, record

from audit_django.storages.database import DatabaseStorage

pytestmark = pytest.mark.django_db
TIMELINE = "/audit/"


def pages(recorded):
    return [
        TIMELINE,
        reverse("audit:event", args=[recorded.id]),
        reverse("audit:event-json", args=[recorded.id]),
        reverse("audit:objects"),
        reverse("audit:actors"),
        reverse("audit:news") + "?after=WzBd",
        reverse("audit:hints") + "?q=x",
    ]


@pytest.fixture
def user(db):
    return User.objects.create_user("carol", password="a password", first_name="Carol")


@pytest.fixture
def reader(client, user):
    user.user_permissions.add(Permission.objects.get(codename="view_audit_log"))
    client.force_login(user)
    return client


def only_north(user):
    return ["north"]


def nothing(user):
    return []


def test_every_page_sends_a_stranger_to_the_login_and_back(client):
    (recorded,) = record(event())
    for page in pages(recorded):
        response = client.get(page)
        assert response.status_code == 302, page
        assert response["Location"].startswith("/audit/login/?next=/audit/"), page
    assert client.get("/audit/?q=jane&model=a.B")["Location"].endswith(
        "next=/audit/%3Fq%3Djane%26model%3Da.B"
    )


def test_every_page_is_refused_in_words_without_the_permission(client, user):
    (recorded,) = record(event())
    client.force_login(user)
    for page in pages(recorded):
        response = client.get(page)
        assert response.status_code == 403, page
        assert "Can view the audit log" in response.text
        assert "P-1007" not in response.text


def test_a_session_that_ends_during_a_swap_returns_to_the_page_around_it(client):
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/audit/?actor=1"}
    response = client.get("/audit/?actor=1&cursor=abc", headers=headers)
    assert response.status_code == 401
    assert response["HX-Redirect"] == "/audit/login/?next=/audit/%3Factor%3D1"


def test_the_page_around_a_swap_must_be_our_own(client):
    headers = {"HX-Request": "true", "HX-Current-URL": "https://evil.example/phish"}
    assert client.get("/audit/", headers=headers)["HX-Redirect"] == "/audit/login/?next=/audit/"


def test_a_poll_says_that_the_session_ended_and_leaves_the_page(client):
    headers = {
        "HX-Request": "true",
        "HX-Target": "audit-news",
        "HX-Current-URL": "http://testserver/audit/?q=a",
    }
    response = client.get("/audit/news/?after=WzBd", headers=headers)
    assert response.status_code == 200
    assert "HX-Redirect" not in response
    assert "/audit/login/?next=/audit/%3Fq%3Da" in response.text


def test_a_user_sees_only_their_tenants(reader, settings):
    north, south, none = record(event(tenant="north"), event(tenant="south", actor=BOB), event())
    settings.AUDIT = {"TENANTS_OF_USER": f"{__name__}.only_north"}
    page = reader.get(TIMELINE).text
    assert [str(item.id) in page for item in (north, south, none)] == [True, False, False]
    for hidden in (south, none):
        for name in ("audit:event", "audit:event-json"):
            response = reader.get(reverse(name, args=[hidden.id]))
            assert response.status_code == 404
            assert "It does not exist, or it is not yours to see." in response.text
    assert reader.get(reverse("audit:event-json", args=[north.id])).json()["tenant"] == "north"
    assert "Bob" not in reader.get(reverse("audit:actors")).text
    assert "1 new change" in reader.get("/audit/news/?after=WzBd").text
    settings.AUDIT = {"TENANTS_OF_USER": f"{__name__}.nothing"}
    assert str(north.id) not in reader.get(TIMELINE).text


def test_what_the_same_request_did_in_another_tenant_is_not_shown(reader, settings):
    from timeline_data import REQUEST

    north, south = record(event(tenant="north", context=REQUEST), event(tenant="south", context=REQUEST))
    settings.AUDIT = {"TENANTS_OF_USER": f"{__name__}.only_north"}
    assert str(south.id) not in reader.get(reverse("audit:event", args=[north.id])).text


def test_answers_are_kept_by_no_cache(reader):
    assert "no-store" in reader.get(TIMELINE)["Cache-Control"]


def test_an_unknown_event_is_not_found(reader):
    assert reader.get("/audit/events/01890a5d-ac96-774b-bcce-b302099a8057/").status_code == 404


@pytest.mark.parametrize("error", [OperationalError("gone"), ConnectionRefusedError("gone")])
def test_a_storage_that_does_not_answer_is_named_with_what_still_works(reader, monkeypatch, caplog, error):
    def search(self, query):
        raise error

    monkeypatch.setattr(DatabaseStorage, "search", search)
    first, second = reader.get(TIMELINE), reader.get(TIMELINE)
    assert first.status_code == 503
    assert "The storage “default” has not answered since" in first.text
    assert "changes are recorded with the data they belong to" in first.text
    assert "the storage 'default'" in caplog.text
    since = [re.search(r"answered since (.*?)\.", response.text)[1] for response in (first, second)]
    assert since[0] == since[1]
    monkeypatch.undo()
    assert reader.get(TIMELINE).status_code == 200


def test_login_says_beside_the_field_what_is_wrong_and_returns(client, user):
    page = "/audit/login/?next=/audit/%3Fq%3Dx"
    assert "This field is required." in client.post(page, {"username": "carol"}).text
    wrong = client.post(page, {"username": "<b>carol", "password": "wrong"}).text
    assert 'role="alert"' in wrong
    assert "&lt;b&gt;carol" in wrong
    right = {"username": "carol", "password": "a password", "next": "/audit/?q=x"}
    assert client.post(page, right)["Location"] == "/audit/?q=x"
    assert client.post("/audit/logout/")["Location"] == "/audit/login/"
    assert client.get(TIMELINE).status_code == 302


def test_login_never_leads_to_another_host(client, user):
    data = {"username": "carol", "password": "a password", "next": "https://evil.example/"}
    assert client.post("/audit/login/", data)["Location"] == "/audit/"


def test_a_project_with_a_login_of_its_own_is_not_entered_beside_it(client, settings, user):
    settings.LOGIN_URL = "/sso/"
    assert client.get("/audit/?q=x")["Location"] == "/sso/?next=/audit/%3Fq%3Dx"
    response = client.post("/audit/login/?next=/audit/", {"username": "carol", "password": "a password"})
    assert response["Location"] == "/sso/?next=%2Faudit%2F"
    assert "_auth_user_id" not in client.session
    settings.LOGIN_URL = "audit:login"
    assert client.get("/audit/login/").status_code == 200
