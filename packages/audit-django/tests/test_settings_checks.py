"""Every mistake in the settings and registrations is found, named and answered."""

import traceback

import pytest
from django.core.checks import run_checks
from django.test import override_settings
from testapp.models import Customer, Policy, Unaudited

from audit_core.errors import ConfigurationError
from audit_django import registry
from audit_django.conf import get_settings
from audit_django.registry import audited, history_types, register, tracked, tracked_models, unregister

pytestmark = pytest.mark.django_db(
    databases=["default", "other"]
)  # Django 6 asks the databases what they can


def found(**settings):
    with override_settings(**settings):
        return {message.id: message for message in run_checks() if message.id.startswith("audit.")}


def test_the_defaults_are_clean():
    assert found(AUDIT={}) == {}


@pytest.mark.parametrize(
    ("setting", "check", "words"),
    [
        ("no dictionary", "audit.E001", "AUDIT = {}"),
        ({"STORAGE": {}}, "audit.E002", "Did you mean 'STORAGES'?"),
        ({"WHATEVER": 1}, "audit.E002", "There are: "),
        ({"STORAGES": []}, "audit.E003", "BACKEND"),
        ({"STORAGES": {"default": "database"}}, "audit.E003", "OPTIONS"),
        ({"STORAGES": {"default": {"BACKEND": "database", "bucket": "x"}}}, "audit.E003", "under 'OPTIONS'"),
        ({"EXCLUDE_FIELDS": "updated_at"}, "audit.E003", "['updated_at']"),
        ({"MAX_VALUE_BYTES": "64k"}, "audit.E003", "int"),
        ({"RELAY": "thread"}, "audit.E004", "inline, celery, tasks, worker"),
        ({"MODELS": "some"}, "audit.E004", "registered, all"),
        ({"QUERY": "archive"}, "audit.E005", "default"),
        ({"SENSITIVE_KEYS": ["short"]}, "audit.E006", "token_urlsafe"),
        ({"SENSITIVE_KEYS": ["k" * 32, None]}, "audit.E006", "key 2 is of type NoneType"),
        ({"SENSITIVE_KEYS": ["k" * 32, b"o" * 32]}, "audit.E006", "key 2 is of type bytes"),
        ({"SENSITIVE_KEYS": ["k" * 31]}, "audit.E006", "key 1 has 31 characters"),
        ({"SENSITIVE_KEYS": ["k" * 32 + "\n"]}, "audit.E006", "white space"),
        ({"SENSITIVE_KEYS": ["k" * 32, "k" * 32]}, "audit.E006", "key 2 is there twice"),
        ({"SENSITIVE_PATTERN": "ssn|("}, "audit.E015", "no regular expression"),
        ({"STREAMS": {"log": {"BACKEND": "memory"}}}, "audit.E007", "itself"),
        ({"TRUSTED_PROXIES": ["10.0.0.0/99"]}, "audit.E008", "10.0.0.0/8"),
        ({"RELAY_OPTIONS": {"batchsize": 1}}, "audit.E009", "batch_size"),
        ({"ACTOR_RESOLVER": "no.such.path"}, "audit.E010", "dotted path"),
        ({"STORAGES": {"default": {"BACKEND": "databse"}}}, "audit.E011", "did you mean"),
        ({"DATABASES": ["replica"]}, "audit.E012", "other"),
        ({"STORAGES": {"x": {"BACKEND": "memory"}}, "STREAMS": {"x": {"BACKEND": "memory"}}, "QUERY": "x"},
         "audit.E013", "another name"),
        ({"STORAGES": {"x": {"BACKEND": "jsonl", "OPTIONS": {"path": "x"}}}, "QUERY": "x"}, "audit.E016", "cannot search"),
        ({"STORAGES": {"x": {"BACKEND": "jsonl"}}, "QUERY": "x"}, "audit.E016", "needs the option 'path'"),
    ],
)  # fmt: skip
def test_a_mistake_has_a_check_and_a_hint(setting, check, words):
    message = found(AUDIT=setting)[check]
    assert words.lower() in f"{message.msg} {message.hint}".lower()


SECRET = "a secret that nobody is to see in a check"


@pytest.mark.parametrize(
    "keys", [SECRET, SECRET.encode(), [SECRET, SECRET], [f" {SECRET}"], {SECRET: 1}, [[SECRET]]]
)
def test_no_check_and_no_error_shows_a_secret(settings, keys):
    settings.AUDIT = {"SENSITIVE_KEYS": keys}
    [message] = [m for m in run_checks() if m.id in ("audit.E003", "audit.E006")]
    with pytest.raises(ConfigurationError) as caught:
        get_settings()
    shown = [repr(message), str(message), "".join(traceback.format_exception(caught.value))]
    frame = caught.value.__traceback__
    while frame is not None:  # what a page about the error shows, this test's own variables excepted
        if frame.tb_frame.f_globals["__name__"].startswith("audit_"):
            shown.append(repr(frame.tb_frame.f_locals))
        frame = frame.tb_next
    assert len(shown) > 3
    assert not any(SECRET in text for text in shown)


@pytest.mark.parametrize(
    "name",
    "password api_token client_secret ssn social_security_number card_number CardNumber creditcard card_no cvv cvc iban "
    "apikey api_key".split(),
)
def test_names_that_are_sensitive_by_default(name):
    assert get_settings().sensitive_names.search(name)


@pytest.mark.parametrize("name", "name email amount card_note discount passport number cargo".split())
def test_names_that_are_not(name):
    assert not get_settings().sensitive_names.search(name)


def test_settings_in_force_show_no_secret(settings):
    settings.AUDIT = {"SENSITIVE_KEYS": [SECRET]}
    assert get_settings().secrets
    assert SECRET not in repr(get_settings()) + repr(vars(get_settings())["secrets"].__dict__)


def test_a_mistake_stops_the_first_use():
    with (
        override_settings(AUDIT={"RELAY": "thread"}),
        pytest.raises(ConfigurationError, match="manage.py check"),
    ):
        get_settings()


def test_no_secret_is_shown():
    key = "k" * 40
    with override_settings(AUDIT={"SENSITIVE_KEYS": [key]}):
        assert key not in repr(get_settings())


def test_the_middleware_is_missed():
    assert "audit.W002" in found(MIDDLEWARE=[])
    order = [
        "audit_django.middleware.AuditMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    assert "audit.W003" in found(MIDDLEWARE=order)


@pytest.fixture
def registrations():
    before = dict(registry._registered)
    yield
    registry._registered.clear()
    registry._registered.update(before)
    registry.forget()


@pytest.mark.usefixtures("registrations")
class TestRegistrations:
    def test_a_model_or_field_that_is_not_there(self):
        register("testapp.Polcy")
        register(Customer, sensitive=["snn"], m2m=["tags"])
        messages = [m.msg for m in run_checks() if m.id == "audit.E020"]
        assert any("testapp.policy" in message.lower() for message in messages)
        assert any("'snn'" in message and "'ssn'" in message for message in messages)
        assert any("'tags'" in message for message in messages)

    def test_a_relation_to_many_is_not_sensitive(self):
        register(Policy, sensitive=["tags"])
        [message] = [m.msg for m in run_checks() if m.id == "audit.E020"]
        assert "many-to-many" in message

    def test_a_primary_key_that_is_named_like_a_secret(self, settings):
        settings.AUDIT = {"SENSITIVE_PATTERN": "^code$"}  # that of Member
        assert [m.msg for m in run_checks() if m.id == "audit.W007"] == [
            "The primary key 'code' of cornerapp.GeneratedFirst stands in every event as the target's id.",
            "The primary key 'code' of testapp.Member stands in every event as the target's id.",
        ]
        assert not [m for m in run_checks() if m.id == "audit.E020"]

    @pytest.mark.parametrize("options", [{"before": "memory"}, {"on_error": "ignore"}, {"fields": "name"}])
    def test_an_option_that_cannot_be(self, options):
        with pytest.raises(ConfigurationError, match="Write"):
            register(Customer, **options)

    def test_an_option_that_there_is_not(self):
        with pytest.raises(ConfigurationError, match="Did you mean 'exclude'"):
            register(Customer, exlude=["name"])

    def test_fields_and_exclude(self):
        register(Customer, fields=["name", "email"], exclude=["email"])
        assert [spec.name for spec in tracked(Customer).fields] == ["name"]

    def test_excluded_by_the_settings(self, settings):
        settings.AUDIT = {"EXCLUDE_FIELDS": ["notes", "testapp.Policy.premium"]}
        assert {"notes", "premium"}.isdisjoint(spec.name for spec in tracked(Policy).fields)

    def test_all_models(self, settings):
        assert tracked(Unaudited) is None
        settings.AUDIT = {"MODELS": "all", "EXCLUDE_MODELS": ["testapp.Tag", "sessions.Session"]}
        labels = [model._meta.label for model in tracked_models()]
        assert "testapp.Unaudited" in labels
        assert "auth.User" in labels
        assert "sessions.Session" not in labels
        assert not any(label.startswith("audit_django.") for label in labels)

    def test_a_decorator(self):
        assert audited(Unaudited) is Unaudited
        assert tracked(Unaudited) is not None
        unregister(Unaudited)
        assert tracked(Unaudited) is None

    def test_what_looks_sensitive_is(self, settings):
        settings.AUDIT = {"MODELS": "all", "SENSITIVE_PATTERN": ""}
        from django.contrib.auth.models import User

        [password] = [spec for spec in tracked(User).fields if spec.name == "password"]
        assert password.sensitive
        assert password.never_stored

    def test_a_history_is_found_under_every_type_it_was_recorded_under(self):
        from testapp.models import Place, PolicyProxy, Restaurant

        assert history_types(Place) == ["testapp.Place", "testapp.Restaurant"]
        assert history_types(Restaurant) == ["testapp.Restaurant"]
        assert history_types(PolicyProxy) == ["testapp.Policy"]
