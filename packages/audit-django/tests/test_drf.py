"""Django REST framework works unchanged on audited models, and the actor is whoever its authentication finds."""

from base64 import b64encode

import pytest
from django.contrib.auth import authenticate, login
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.db import transaction
from django.http import HttpRequest
from django.urls import include, path
from testapp.models import Customer, Document, Policy, Tag

from audit_core.event import Actor
from audit_django import record
from audit_django.models import AuditEvent
from audit_django.testing import captured_events

pytest.importorskip("rest_framework", reason="Django REST framework is not installed")
pytest.importorskip("rest_framework_simplejwt", reason="Simple JWT is not installed")

from rest_framework import authentication, exceptions, permissions, routers, serializers, viewsets
from rest_framework.authtoken.models import Token
from rest_framework.authtoken.views import obtain_auth_token
from rest_framework.decorators import action, api_view, authentication_classes
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import exception_handler
from rest_framework_simplejwt.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from rest_framework_simplejwt.serializers import TokenObtainPairSerializer
from rest_framework_simplejwt.tokens import AccessToken
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

pytestmark = pytest.mark.django_db


class BadgeAuthentication(authentication.BaseAuthentication):
    """A project's own: the header names the user."""

    def authenticate(self, request):
        if not (badge := request.headers.get("X-Badge")):
            return None
        try:
            return User.objects.get(username=badge), None
        except User.DoesNotExist:
            record("badge_refused", category="security", outcome="failure")
            raise exceptions.AuthenticationFailed("no such badge") from None


class PolicySerializer(serializers.ModelSerializer):
    class Meta:
        model = Policy
        fields = ("id", "number", "customer", "status", "premium", "valid_until", "tags")


class PolicyViewSet(viewsets.ModelViewSet):
    queryset = Policy.objects.order_by("pk")
    serializer_class = PolicySerializer
    permission_classes = (permissions.IsAuthenticated,)
    authentication_classes = (
        authentication.SessionAuthentication,
        authentication.TokenAuthentication,
        BadgeAuthentication,
        JWTAuthentication,
        authentication.BasicAuthentication,
    )

    def get_serializer(self, *args, **kwargs):
        """A list of objects is created in bulk."""
        many = isinstance(kwargs.get("data"), list)
        return super().get_serializer(*args, **kwargs, **({"many": True} if many else {}))

    @action(detail=False, methods=["delete"])
    def bulk(self, request):
        self.get_queryset().filter(pk__in=request.data["ids"]).delete()
        return Response(status=204)

    @action(detail=True, methods=["post"])
    def approve(self, request, pk):
        with transaction.atomic():
            Policy.objects.filter(pk=pk).first().tags.clear()
            raise exceptions.PermissionDenied("four eyes")

    def get_exception_handler(self):
        return handled


def handled(error, context):
    if isinstance(error, exceptions.PermissionDenied):
        record("refused", outcome="failure")
    return exception_handler(error, context)


class StatelessViewSet(PolicyViewSet):
    authentication_classes = (JWTStatelessUserAuthentication,)


class TellingSerializer(TokenObtainPairSerializer):
    """Tells Django of the login, as many projects do because Simple JWT does not."""

    def validate(self, attrs):
        data = super().validate(attrs)
        user_logged_in.send(sender=User, request=self.context["request"], user=self.user)
        return data


@api_view(["POST"])
@authentication_classes([])
def log_in(request):
    """A login by API with a session."""
    user = authenticate(request, username=request.data["username"], password=request.data["password"])
    if user is None:
        raise exceptions.AuthenticationFailed
    login(request, user)
    return Response({})


router = routers.DefaultRouter()
router.register("policies", PolicyViewSet)
router.register("stateless", StatelessViewSet, basename="stateless")
urlpatterns = [
    path("api/", include(router.urls)),
    path("login/", log_in),
    path("token/", obtain_auth_token),
    path("jwt/", TokenObtainPairView.as_view()),
    path("telling/", TokenObtainPairView.as_view(serializer_class=TellingSerializer)),
    path("jwt/refresh/", TokenRefreshView.as_view()),
]


def tenant_of(request):
    assert isinstance(request, HttpRequest)
    return f"tenant of {request.user.username}"


@pytest.fixture(autouse=True)
def project(settings):
    """Every model is audited, so that whatever the framework writes is captured."""
    settings.ROOT_URLCONF = __name__
    settings.AUDIT = {"MODELS": "all"}
    settings.SIMPLE_JWT = {"SIGNING_KEY": "only for tests " * 4}


@pytest.fixture
def alice(db):
    return User.objects.create_user("alice", "a@example.com", "secret", first_name="Alice", last_name="Ames")


@pytest.fixture
def bob(db):
    return User.objects.create_user("bob", password="secret")


@pytest.fixture
def customer(db):
    return Customer.objects.create(name="Jane Doe", ssn="078-05-1120")


def session(user):
    client = APIClient()
    client.force_login(user)
    return client


def token(user):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {Token.objects.create(user=user).key}")
    return client


def jwt(user):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(user)}")
    return client


def badge(user):
    client = APIClient()
    client.credentials(HTTP_X_BADGE=user.username)
    return client


def basic(user, password="secret"):
    client = APIClient()
    words = b64encode(f"{user.username}:{password}".encode()).decode()
    client.credentials(HTTP_AUTHORIZATION=f"Basic {words}")
    return client


def forced(user):
    """As the framework's own tests do."""
    client = APIClient()
    client.force_authenticate(user)
    return client


EVERY_WAY = pytest.mark.parametrize("log_in", [session, token, jwt, badge, basic, forced])


@EVERY_WAY
def test_the_actor_is_who_the_api_authenticates_33(log_in, alice, customer):
    client = log_in(alice)
    with captured_events() as events:
        response = client.post("/api/policies/", {"number": "P-1", "customer": customer.pk}, format="json")
    assert response.status_code == 201, response.data
    event = events.one("create", Policy)
    assert event.actor == Actor(id=str(alice.pk), username="alice", email="a@example.com", repr="Alice Ames")
    assert event.context.path == "/api/policies/"
    assert {event.actor.username for event in events} == {"alice"}


@EVERY_WAY
def test_an_exception_is_recorded_with_the_actor_33(log_in, alice, customer):
    policy = Policy.objects.create(number="P-1", customer=customer)
    policy.tags.add(Tag.objects.create(name="x"))
    client = log_in(alice)
    with captured_events() as events:
        assert client.post(f"/api/policies/{policy.pk}/approve/").status_code == 403
    event = events.one()  # what was undone is not among them
    assert (event.action, event.outcome, event.actor.username) == ("refused", "failure", "alice")


def test_a_token_wins_over_another_users_session_33(alice, bob, customer, monkeypatch):
    """As the view's own order of authentication says, not the session that the middleware saw."""
    client = session(bob)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {AccessToken.for_user(alice)}")
    monkeypatch.setattr(PolicyViewSet, "authentication_classes", (JWTAuthentication,))
    with captured_events() as events:
        client.post("/api/policies/", {"number": "P-1", "customer": customer.pk}, format="json")
    assert events.one("create", Policy).actor.username == "alice"


@pytest.mark.parametrize("claims", [{}, {"username": "alice"}])
def test_a_user_that_only_the_token_describes_33(claims, customer):
    access = AccessToken()
    access["user_id"] = "7"
    for name, value in claims.items():
        access[name] = value
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {access}")
    with captured_events() as events:
        response = client.post("/api/stateless/", {"number": "P-1", "customer": customer.pk}, format="json")
    assert response.status_code == 201, response.data
    actor = events.one("create", Policy).actor
    assert (actor.id, actor.type, actor.username) == ("7", "user", claims.get("username"))
    assert actor.repr == claims.get("username", "TokenUser 7")


def test_who_is_refused_is_anonymous_33(customer):
    client = APIClient()
    client.credentials(HTTP_X_BADGE="mallory")
    with captured_events() as events:
        assert client.get("/api/policies/").status_code == 403
    assert events.one().actor == Actor(type="anonymous")


class TestLogins:
    def test_with_a_session_36(self, alice):
        with captured_events() as events:
            response = APIClient().post("/login/", {"username": "alice", "password": "secret"})
        assert response.status_code == 200
        event = events.one("login")
        assert (event.category, event.actor.username, event.context.path) == ("auth", "alice", "/login/")

    @pytest.mark.parametrize("address", ["/token/", "/jwt/"])
    def test_with_a_token_36(self, address, alice):
        with captured_events() as events:
            response = APIClient().post(address, {"username": "alice", "password": "secret"})
        assert response.status_code == 200
        event = events.one("login")
        assert (event.category, event.actor.username, event.context.path) == ("auth", "alice", address)

    @pytest.mark.parametrize("address", ["/login/", "/token/", "/jwt/"])
    @pytest.mark.parametrize("username", ["alice", "mallory", "<b>", "x" * 150])
    def test_that_failed_36(self, address, username, alice):
        with captured_events() as events:
            response = APIClient().post(address, {"username": username, "password": "wrong"})
        assert response.status_code in (400, 401, 403)
        event = events.one()
        assert (event.action, event.outcome, event.extra) == (
            "login_failed",
            "failure",
            {"username": username},
        )
        assert event.context.path == address

    def test_a_new_token_for_an_old_one_is_no_login_36(self, alice):
        tokens = APIClient().post("/jwt/", {"username": "alice", "password": "secret"}).data
        with captured_events() as events:
            assert APIClient().post("/jwt/refresh/", {"refresh": tokens["refresh"]}).status_code == 200
        events.assert_nothing_recorded()

    def test_a_login_that_the_application_tells_too_is_one_36(self, alice):
        with captured_events() as events:
            response = APIClient().post("/telling/", {"username": "alice", "password": "secret"})
        assert response.status_code == 200
        assert events.one("login").actor.username == "alice"

    @pytest.mark.parametrize("password", ["secret", "wrong"])
    def test_a_tenant_is_asked_for_with_djangos_request_36(self, password, alice, settings, customer):
        """The framework's own would authenticate when asked for its user: Basic does that with a login that may fail."""
        settings.AUDIT = {"MODELS": "all", "TENANT_RESOLVER": f"{__name__}.tenant_of"}
        client = APIClient()
        import base64

        client.credentials(
            HTTP_AUTHORIZATION=f"Basic {base64.b64encode(f'alice:{password}'.encode()).decode()}"
        )
        with captured_events() as events:
            client.post("/api/policies/", {"number": "P-1", "customer": customer.pk}, format="json")
        expected = ("create", "tenant of alice") if password == "secret" else ("login_failed", "tenant of ")
        assert [(event.action, event.tenant) for event in events] == [expected]

    def test_no_secret_is_in_the_trail_36(self, alice, customer):
        APIClient().post("/token/", {"username": "alice", "password": "secret"})
        tokens = APIClient().post("/jwt/", {"username": "alice", "password": "secret"}).data
        kept = "".join(AuditEvent.objects.values_list("text", flat=True))
        for secret in (Token.objects.get().key, tokens["access"], tokens["refresh"], '"secret"'):
            assert secret not in kept


class TestUnchanged:
    """What the framework does with models, all of them audited."""

    @pytest.fixture
    def client(self, alice):
        return token(alice)

    @pytest.fixture
    def policy(self, customer):
        return Policy.objects.create(number="P-1", customer=customer)

    def test_browse(self, client, policy):
        with captured_events() as events:
            assert [row["number"] for row in client.get("/api/policies/").data] == ["P-1"]
            assert client.get(f"/api/policies/{policy.pk}/").data["number"] == "P-1"
            page = client.get(f"/api/policies/{policy.pk}/", headers={"accept": "text/html"})
            assert client.options("/api/policies/").status_code == 200
        assert b"PATCH" in page.content  # the browsable API
        events.assert_nothing_recorded()

    def test_create(self, client, customer):
        tag = Tag.objects.create(name="Critical")
        data = {"number": "P-2", "customer": customer.pk, "premium": "12.50", "tags": [tag.pk]}
        with captured_events() as events:
            response = client.post("/api/policies/", data, format="json")
        assert response.status_code == 201
        policy = Policy.objects.get(pk=response.data["id"])
        assert events.one("create", policy).diff["premium"].after == "12.50"
        assert [item["repr"] for item in events.one(target=policy, changed="tags").diff["tags"].added] == [
            "Critical"
        ]

    def test_update(self, client, policy, customer):
        data = {"number": "P-3", "customer": customer.pk, "status": "approved", "tags": []}
        with captured_events() as events:
            assert client.put(f"/api/policies/{policy.pk}/", data, format="json").status_code == 200
        diff = events.one("update", policy).diff
        assert (diff["number"].before, diff["number"].after) == ("P-1", "P-3")
        assert (diff["status"].before, diff["status"].after) == ("draft", "approved")

    def test_partial_update(self, client, policy):
        with captured_events() as events:
            response = client.patch(f"/api/policies/{policy.pk}/", {"premium": "7.00"}, format="json")
        assert response.data["premium"] == "7.00"
        assert {"premium"} <= events.one("update", policy).diff.keys() <= {"premium", "updated_at"}

    def test_what_is_not_valid_records_nothing(self, client, policy):
        with captured_events() as events:
            assert (
                client.patch(f"/api/policies/{policy.pk}/", {"status": "no"}, format="json").status_code
                == 400
            )
            assert client.post("/api/policies/", {}, format="json").status_code == 400
        events.assert_nothing_recorded()

    def test_delete(self, client, policy):
        key = policy.pk
        with captured_events() as events:
            assert client.delete(f"/api/policies/{key}/").status_code == 204
            assert client.delete(f"/api/policies/{key}/").status_code == 404
        assert events.one("delete").target.id == str(key)

    def test_bulk(self, client, customer):
        data = [{"number": f"P-{number}", "customer": customer.pk} for number in range(3)]
        with captured_events() as events:
            response = client.post("/api/policies/", data, format="json")
            ids = [row["id"] for row in response.data]
            assert client.delete("/api/policies/bulk/", {"ids": ids}, format="json").status_code == 204
        assert [event.target.repr for event in events.matching("create", Policy)] == ["P-0", "P-1", "P-2"]
        assert sorted(event.target.id for event in events.matching("delete", Policy)) == sorted(map(str, ids))
        assert Document.objects.count() == Policy.objects.count() == 0
