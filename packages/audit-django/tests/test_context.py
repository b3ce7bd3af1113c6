"""Who and from where: the middleware, actors, commands, logins."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.contrib.auth import authenticate
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.auth.signals import user_login_failed
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from testapp.models import BestEffort, Tag

from audit_core.context import audit_context, current
from audit_core.errors import ConfigurationError
from audit_core.event import Actor
from audit_django import with_reason
from audit_django.capture.guard import forget_losses, losses
from audit_django.conf import AuditSettings
from audit_django.context.actor import as_actor
from audit_django.context.middleware import AuditMiddleware, client_ip
from audit_django.models import AuditEvent
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db

REQUESTS = RequestFactory()


@pytest.fixture
def alice(db):
    return User.objects.create_user(
        "alice", "alice@example.com", "secret", first_name="Alice", last_name="Ames"
    )


def respond(act, request, **attributes):
    """The response of a view that does ``act``, behind the middleware."""

    def view(request):
        act(request)
        return HttpResponse()

    for name, value in attributes.items():
        setattr(request, name, value)
    return AuditMiddleware(view)(request)


def test_what_a_request_tells(alice):
    request = REQUESTS.post(
        "/policies/7/?token=abc",
        headers={
            "user-agent": "Mozilla/5.0",
            "x-request-id": "req-42",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
    )
    with captured_events() as events:
        response = respond(lambda request: Tag.objects.create(name="x"), request, user=alice)
    event = events.one("create", Tag)
    assert event.actor == Actor(
        id=str(alice.pk), username="alice", email="alice@example.com", repr="Alice Ames"
    )
    assert event.context.to_dict() == {
        "ip": "127.0.0.1",
        "user_agent": "Mozilla/5.0",
        "method": "POST",
        "path": "/policies/7/",
        "request_id": "req-42",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "source": "request",
    }
    assert response.headers["X-Request-ID"] == "req-42"


@pytest.mark.parametrize("given", ["", "a b", "x" * 101, "<script>", "a\nb", "ä"])
def test_a_request_id_that_is_none_is_made_anew(given):
    request = REQUESTS.get("/")
    request.META["HTTP_X_REQUEST_ID"] = given
    response = respond(lambda request: None, request)
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_the_session_is_a_keyed_hash(client, alice, settings):
    settings.ROOT_URLCONF = __name__
    client.force_login(alice)
    with captured_events() as events:
        client.get("/")
    session = events.one("create", Tag).context.session
    assert re.fullmatch("[0-9a-f]{16}", session)
    assert session not in client.session.session_key


def index(request):
    Tag.objects.create(name="x")
    return HttpResponse()


def test_the_actor_may_be_known_only_later_33(alice):
    """An API framework authenticates in the view."""

    def view(request):
        request.user = alice
        Tag.objects.create(name="x")

    with captured_events() as events:
        respond(view, REQUESTS.get("/"), user=AnonymousUser())
    assert events.one("create").actor.username == "alice"


def test_an_anonymous_user_23():
    with captured_events() as events:
        respond(lambda request: Tag.objects.create(name="x"), REQUESTS.get("/"), user=AnonymousUser())
    assert events.one("create").actor == Actor(type="anonymous")


def test_nothing_stays_after_the_response_31():
    respond(lambda request: None, REQUESTS.get("/"))
    assert current().context.request_id is None
    with pytest.raises(RuntimeError):
        respond(lambda request: 1 / 0 if False else (_ for _ in ()).throw(RuntimeError()), REQUESTS.get("/"))
    assert current().context.request_id is None


def test_nested_contexts_restore_the_outer_one_31():
    with audit_context(actor="alice", reason="outer", ticket="T-1"):
        with audit_context(reason="inner"):
            assert (current().actor, current().reason) == ("alice", "inner")
        assert (current().reason, current().extra) == ("outer", {"ticket": "T-1"})
    assert current().actor is None


@with_reason("yearly renewal")
def renew():
    return Tag.objects.create(name="x")


def test_a_reason_for_a_function():
    with captured_events() as events:
        renew()
        renew()
        Tag.objects.create(name="y")
    assert [event.reason for event in events] == ["yearly renewal", "yearly renewal", None]


def test_requests_in_one_event_loop_keep_their_own_actors_30():
    """Ten requests at once, each giving way in the middle: no actor is mistaken for another."""
    seen = {}

    async def view(request):
        for _ in range(3):
            await asyncio.sleep(0)
            assert current().actor().username == request.user.username
        seen[request.user.username] = await sync_to_async(lambda: current().actor().username)()
        return HttpResponse()

    middleware = AuditMiddleware(view)
    assert iscoroutinefunction(middleware)

    async def main():
        requests = []
        for number in range(10):
            request = REQUESTS.get("/")
            request.user = SimpleNamespace(username=f"user-{number}")
            requests.append(middleware(request))
        await asyncio.gather(*requests)
        assert current().actor is None

    async_to_sync(main)()
    assert seen == {f"user-{number}": f"user-{number}" for number in range(10)}


def test_a_thread_starts_without_the_context_of_another_32():
    with audit_context(actor="alice"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: current().actor).result() is None


class TestClientAddress:
    @staticmethod
    def ip(remote, forwarded=None, trusted=()):
        headers = {"x-forwarded-for": forwarded} if forwarded else {}
        request = REQUESTS.get("/", headers=headers, REMOTE_ADDR=remote)
        return client_ip(request, AuditSettings(trusted_proxies=trusted))

    def test_nobody_is_believed_by_default_35(self):
        assert self.ip("198.51.100.7", "10.0.0.1") == "198.51.100.7"

    def test_a_trusted_proxy_is_35(self):
        assert self.ip("10.0.0.2", "203.0.113.9", ["10.0.0.0/8"]) == "203.0.113.9"

    def test_what_the_client_wrote_itself_is_not_35(self):
        assert self.ip("10.0.0.2", "1.2.3.4, 203.0.113.9, 10.0.0.3", ["10.0.0.0/8"]) == "203.0.113.9"

    def test_an_untrusted_peer_is_not_asked_35(self):
        assert self.ip("198.51.100.7", "203.0.113.9", ["10.0.0.0/8"]) == "198.51.100.7"

    @pytest.mark.parametrize(
        "garbage",
        ["<script>", "unknown", "_hidden", "1.2.3", "1.2.3.4:", "1.2.3.4:x", "[1.2.3.4", "[]:80", ":80", "1.2.3.4/8"],
    )  # fmt: skip
    def test_garbage_is_ignored_35(self, garbage):
        assert self.ip("10.0.0.2", garbage, ["10.0.0.0/8"]) == "10.0.0.2"
        # Nor does anything count that stands before it.
        assert self.ip("10.0.0.2", f"203.0.113.9, {garbage}, 10.0.0.3", ["10.0.0.0/8"]) == "10.0.0.3"

    def test_a_peer_without_an_address_35(self):
        assert self.ip("", "203.0.113.9", ["10.0.0.0/8"]) is None

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("203.0.113.9:51324", "203.0.113.9"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:DB8::1]:443", "2001:db8::1"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("fe80::1%eth0", "fe80::1"),
            ("fe80::1%<script>", "fe80::1"),
            (" 203.0.113.9 ,, 10.0.0.3", "203.0.113.9"),
            ("10.0.0.4, 10.0.0.3", "10.0.0.4"),  # a client inside the network
        ],
    )
    def test_how_proxies_write_addresses_35(self, written, meant):
        assert self.ip("10.0.0.2", written, ["10.0.0.0/8"]) == meant

    def test_ipv6_35(self):
        assert self.ip("::ffff:10.0.0.2", "2001:db8::1", ["10.0.0.0/8"]) == "2001:db8::1"
        assert self.ip("fd00::2", "203.0.113.9, fd00::3", ["fd00::/8"]) == "203.0.113.9"

    def test_every_header_of_a_chain_counts_35(self):
        """ASGI hands over headers one by one; the last proxy's comes last."""
        headers = [(b"x-forwarded-for", b"1.2.3.4"), (b"x-forwarded-for", b"203.0.113.9")]
        scope = {"method": "GET", "path": "/", "headers": headers, "client": ["10.0.0.2", 80]}
        request = ASGIRequest(scope, BytesIO())
        assert client_ip(request, AuditSettings(trusted_proxies=["10.0.0.0/8"])) == "203.0.113.9"


class TestActors:
    def test_a_name_a_mapping_an_object(self):
        assert as_actor("alice") == Actor(username="alice", repr="alice")
        assert as_actor({"id": 42, "username": "alice"}) == Actor(id="42", username="alice")
        assert as_actor(Actor(id="1")) == Actor(id="1")

    def test_a_user_model_with_another_key_23(self):
        user = User(pk=None, username="alice")
        user.pk = "0190b2a4-0000-7000-8000-000000000000"
        assert as_actor(user).id == "0190b2a4-0000-7000-8000-000000000000"

    def test_an_empty_name_is_nobody(self):
        assert as_actor("") is as_actor({}) is as_actor(None) is None

    def test_a_mapping_that_names_nobody_is_refused(self):
        with pytest.raises(ValueError, match="has only 'name', 'pk'"):
            as_actor({"pk": 7, "name": "alice"})

    def test_nobody(self):
        with captured_events() as events:
            Tag.objects.create(name="x")
        assert events.one("create").actor is None


def tenant_of(request):
    return f"tenant of {request.user.username}"


class TestResolver:
    """The setting ACTOR_RESOLVER."""

    @pytest.fixture(autouse=True)
    def answer(self, settings):
        """What the resolver answers: the test sets ``gives``."""
        settings.AUDIT = {"ACTOR_RESOLVER": f"{__name__}.who"}
        yield
        who.gives = None

    @staticmethod
    def actor(gives):
        who.gives = gives
        with captured_events() as events:
            Tag.objects.create(name="x")
        return events.one("create").actor

    def test_a_name_a_mapping_a_user(self, alice):
        assert self.actor(lambda: "alice") == Actor(username="alice", repr="alice")
        assert self.actor(lambda: {"id": 7, "username": "alice", "type": "service"}) == Actor(
            id="7", username="alice", type="service"
        )
        assert self.actor(lambda: alice).id == str(alice.pk)
        assert self.actor(lambda: SimpleLazyObject(lambda: alice)).repr == "Alice Ames"

    @pytest.mark.parametrize("gives", [None, "", {}, SimpleLazyObject(lambda: None)])
    def test_nobody(self, gives):
        assert self.actor(lambda: gives) is None

    def test_it_is_not_asked_where_somebody_is_named(self):
        with audit_context(actor="bob"):
            assert self.actor(lambda: 1 / 0).username == "bob"

    @pytest.mark.parametrize(
        ("gives", "error"),
        [(lambda: 1 / 0, ZeroDivisionError), (lambda: {"pk": 7}, ValueError), (asyncio.Event().wait, ConfigurationError)],
    )  # fmt: skip
    def test_what_it_cannot_say_is_not_recorded_as_nobodys(self, gives, error):
        """The write fails, as it does whenever its event cannot be made."""
        who.gives = gives
        with pytest.raises(error), transaction.atomic():
            Tag.objects.create(name="x")
        assert not Tag.objects.exists()
        assert not AuditEvent.objects.exists()

    def test_a_best_effort_is_saved_and_its_loss_is_counted(self, caplog):
        who.gives = lambda: 1 / 0
        BestEffort.objects.create(data="x")
        assert losses("default") == {"testapp.BestEffort": 1}
        assert "was lost (best_effort): ZeroDivisionError" in caplog.text
        forget_losses()


def who():
    return who.gives() if who.gives else None


who.gives = None


class TestLogins:
    def test_login_and_logout(self, client, alice):
        with captured_events() as events:
            client.login(username="alice", password="secret")
            client.logout()
        assert [(event.category, event.action, event.actor.username) for event in events.matching(None)] == [
            ("auth", "login", "alice"),
            ("auth", "logout", "alice"),
        ]

    def test_a_login_has_the_tenant_of_who_logs_in(self, client, alice, settings):
        settings.AUDIT = {"TENANT_RESOLVER": f"{__name__}.tenant_of"}
        with captured_events() as events:
            client.force_login(alice)  # a bare request: the resolver is not asked
            client.post("/audit/login/", {"username": "alice", "password": "secret"})
        assert [event.tenant for event in events.matching("login")] == [None, "tenant of alice"]

    def test_a_failed_login_without_a_request_36(self):
        with captured_events() as events:
            assert authenticate(username="mallory", password="wrong") is None
        assert events.one("login_failed").extra == {"username": "mallory"}

    @pytest.mark.parametrize("username", ["mallory", "x" * 5000, "a\x00b", "<script>alert(1)</script>"])
    def test_a_failed_login_with_any_name_36(self, username):
        # Sent as `authenticate()` does, which cannot even look up a name with NUL on PostgreSQL.
        with captured_events() as events:
            user_login_failed.send(
                sender=__name__, credentials={"username": username, "password": "wrong"}, request=None
            )
        event = events.one("login_failed")
        assert event.outcome == "failure"
        assert event.actor == Actor(type="anonymous")
        assert len(event.extra["username"]) <= 160
        assert "wrong" not in AuditEvent.objects.latest("number").text


def _urls():
    from django.urls import path

    return [path("", index)]


urlpatterns = _urls()
