"""A value is planted into sensitive fields by every way of writing, and everything that comes of it is searched for it.

Not searched are the statements that the application itself issues: its own INSERT of its own row holds the value, of course.
"""

import io
import logging
import sys
import traceback
from contextlib import contextmanager

import pytest
from asgiref.sync import async_to_sync
from commands import run
from cornerapp.models import Boss, Owned, Truck, Vehicle
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.core.serializers import deserialize, serialize
from django.core.signals import got_request_exception
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import include, path
from django.views.debug import ExceptionReporter
from testapp.models import BestEffort, Customer, Policy, Tag

from audit_core import audit_context
from audit_core.event import RecordedEvent
from audit_core.plugins.manager import PluginManager, override_plugin_manager
from audit_core.plugins.markers import hookimpl
from audit_core.privacy import Secret, sealing
from audit_core.summarizers import GrammarSummarizer
from audit_django import record, register
from audit_django.capture import changes, push, spool
from audit_django.capture import update as capture_update
from audit_django.context.travel import departure
from audit_django.models import AuditEvent, DataKey
from audit_django.privacy.keyring import key_of
from audit_django.recording import get_recorder

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

CANARY = "canary-5f1d9c"
TABLES = {f"audit_django_{name}" for name in ("event", "log", "outbox", "summary", "datakey")}


class Keeper(GrammarSummarizer):
    """Keeps what it was given, as a model's prompt would hold it."""

    given: list = []  # noqa: RUF012

    def summarize(self, events, language):
        Keeper.given += [f"{event!r} {RecordedEvent.of(event).text}" for event in events]
        return super().summarize(events, language)


class KeptFile(io.BytesIO):
    """A file without a name, whose contents are known afterwards."""

    contents: list = []  # noqa: RUF012

    def __init__(self, **options):
        super().__init__()

    def close(self):
        KeptFile.contents.append(self.getvalue())
        super().close()


class Curious:
    """A plugin that looks at everything, and fails when it is told to."""

    def __init__(self):
        self.seen, self.fails = [], False

    @hookimpl
    def audit_enrich_event(self, event):
        self.seen.append(f"{event!r} {event.diff!r}")
        if self.fails:
            raise RuntimeError("the plugin is out of order")
        return {}

    @hookimpl
    def audit_event_recorded(self, event):
        self.seen.append(repr(event))


@contextmanager
def logged():
    """The text and all that is known of every record that is logged, by whomever."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, entry):
            if entry.name == "django.db.backends" and ours(entry.sql) != [entry.sql]:
                lines.extend(ours(entry.sql))
                return
            lines.append(f"{entry.getMessage()} {entry.__dict__!r} {logging.Formatter().format(entry)}")
            if entry.exc_info:  # whoever collects errors from the log has the variables too
                lines.extend(
                    repr(frame.f_locals)
                    for frame, _ in traceback.walk_tb(entry.exc_info[2])
                    if frame.f_globals["__name__"].startswith(("audit_core", "audit_django"))
                )

    root, handler = logging.getLogger(), Keep()
    level, sql = root.level, logging.getLogger("django.db.backends")
    sql_level = sql.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    sql.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        sql.setLevel(sql_level)


def statements(sql):
    """What was sent at once: PostgreSQL takes several statements, and one of the application together with its event."""
    for statement in sql.split("; "):
        if statement.startswith("WITH written AS ("):
            own, _, event = statement.removeprefix("WITH written AS (").partition(" RETURNING 1)")
            yield from (own, event)
        else:
            yield statement


def ours(sql):
    """The statements of the trail: those of the application write its tables."""
    return [
        statement
        for statement in statements(sql)
        if "audit_django_" in statement or statement.split()[0] not in ("INSERT", "UPDATE", "DELETE")
    ]


@pytest.fixture
def world(settings, tmp_path, monkeypatch):
    """Sensitive fields everywhere, a storage and a summarizer beside the log, DEBUG on."""
    from audit_django import registry

    settings.DEBUG = True
    settings.ROOT_URLCONF = __name__
    settings.AUDIT = {
        "SENSITIVE_KEYS": ["k" * 32],
        "STORAGES": {
            "default": {"BACKEND": "database"},
            "archive": {"BACKEND": "jsonl", "OPTIONS": {"path": str(tmp_path / "archive.jsonl")}},
        },
        "SUMMARIZER": {"BACKEND": f"{__name__}.Keeper"},
        "RELAY": "worker",
    }
    monkeypatch.setattr(capture_update, "PART", 2)
    monkeypatch.setattr(spool, "PARTS_IN_MEMORY", 1)
    monkeypatch.setattr(spool.tempfile, "TemporaryFile", KeptFile)
    KeptFile.contents.clear()
    before = dict(registry._registered)
    register(Customer, sensitive=["ssn", "name", "phone"])  # the name is its label
    register(Tag, sensitive=["name"])
    register(Policy, sensitive=["notes", "coverage", "customer"])
    register(BestEffort, sensitive=["data"], on_error="best_effort")
    register(Boss, sensitive=["name"], before="instance")
    register(Truck, sensitive=["name"])  # its parent's
    register(User, sensitive=["email"])
    Keeper.given.clear()
    plugin = Curious()
    with override_plugin_manager(PluginManager(entry_points=None, plugins={"curious": plugin})):
        get_recorder.cache_clear()
        yield plugin, tmp_path / "archive.jsonl"
    get_recorder.cache_clear()
    registry._registered.clear()
    registry._registered.update(before)
    registry.forget()


def write():
    """Every way of writing that is captured."""
    jane = Customer.objects.create(name=f"{CANARY} Jane", ssn=CANARY, phone="1")
    jane.phone = CANARY
    jane.save()
    jane.save(update_fields=["phone"])
    Customer.objects.filter(pk=jane.pk).update(ssn=f"{CANARY}2")
    Customer.objects.bulk_create([Customer(name=CANARY, ssn=f"{CANARY}{number}") for number in range(3)])
    Customer.objects.bulk_create(
        [Customer(pk=jane.pk, name=CANARY, ssn=f"{CANARY}5")],
        update_conflicts=True,
        update_fields=["ssn"],
        **({} if connection.vendor == "mysql" else {"unique_fields": ["id"]}),
    )
    rows = list(Customer.objects.all())
    for row in rows:
        row.ssn += "x"
    Customer.objects.bulk_update(rows, ["ssn"])
    many = [Customer(name=str(number), ssn=f"{CANARY}{number}") for number in range(30)]
    Customer.objects.bulk_create(many)
    Customer.objects.filter(pk__in=[row.pk for row in many]).update(
        phone=F("ssn")
    )  # by way of the spool's file
    with override_settings(AUDIT={**django_settings.AUDIT, "STATEMENT_EVENT_ABOVE_ROWS": 3}):
        Customer.objects.update(ssn=f"{CANARY}12")
    with transaction.atomic():
        policy = Policy.objects.create(number="P-1", customer=jane, notes=CANARY, coverage={"for": [CANARY]})
        tag = Tag.objects.create(name=CANARY)
        policy.tags.add(tag)
    policy.tags.remove(tag)
    policy.coverage = {"for": CANARY}
    policy.save()
    tag.policies.set([policy])
    BestEffort.objects.create(data=CANARY)
    record("approved", jane, reason="four eyes")
    Customer.objects.filter(pk=jane.pk).update(ssn=F("phone"))
    for changed in (f"{CANARY}6", f"{CANARY}7"):
        jane.refresh_from_db()
        jane.ssn = changed
        async_to_sync(jane.asave)()
    boss = Boss.objects.create(name=CANARY, code="1")
    boss = Boss.objects.get(pk=boss.pk)
    boss.name = f"{CANARY}8"
    boss.save()
    Owned.objects.create(boss=boss)
    boss.delete()
    truck = Truck.objects.create(name=CANARY)
    Vehicle.objects.filter(pk=truck.pk).update(name=f"{CANARY}9")
    Customer.objects.get_or_create(pk=4711, defaults={"ssn": CANARY})
    Customer.objects.update_or_create(pk=4711, defaults={"ssn": f"{CANARY}10"})
    for instance in deserialize("json", serialize("json", [truck.vehicle_ptr, truck, jane])):
        instance.object.name = f"{CANARY}11"
        instance.save()
    with audit_context(actor=User.objects.create(username="clerk", email=f"{CANARY}@example.org")):
        tag.delete()
        Keeper.given.append(repr(departure()))  # what a task takes along
    policy.delete()
    jane.delete()
    User.objects.create_user("jane", password=CANARY)


def fail(plugin, settings):
    """Writes whose event cannot be built, because the keys cannot be used; the text of what is raised."""
    plugin.fails = True
    Customer.objects.create(name="x", ssn=CANARY)  # a plugin that fails is logged, and stops nothing
    lose_the_secret(settings)
    BestEffort.objects.create(data=CANARY)  # nor does a lost event that was not required
    customer = Customer.objects.get(name="x")
    writes = [
        lambda: Customer.objects.create(name="y", ssn=CANARY),
        lambda: Customer.objects.update(ssn=f"{CANARY}9"),
        lambda: Customer.objects.bulk_create([Customer(name="z", ssn=CANARY)]),
        customer.save,
        customer.delete,
    ]
    customer.phone = CANARY
    return [attempt(write) for write in writes]


def lose_the_secret(settings):
    DataKey.objects.update(wrapped_by="ffffffff")
    settings.AUDIT = {**settings.AUDIT, "LANGUAGE": "en-us"}  # nothing is in memory any more


def attempt(act):
    try:
        with transaction.atomic():
            act()
    except Exception as error:
        return f"{error!r} {''.join(traceback.format_exception(error))}"
    return ""


def read(client):
    """Every page of the timeline."""
    user = User.objects.create(username="reader")
    user.user_permissions.add(*Permission.objects.filter(codename__in=["view_audit_log", "unmask"]))
    client.force_login(user)
    pages = [client.get("/audit/"), client.get("/audit/", {"q": "jane"}), client.get("/audit/objects/")]
    for row in AuditEvent.objects.all():
        pages += [client.get(f"/audit/events/{row.event_id}{suffix}") for suffix in ("/", ".json")]
    assert {page.status_code for page in pages} == {200}
    return " ".join(b"".join(page).decode() for page in pages)


def everywhere(world, settings, client):
    """What came of it, by place."""
    plugin, archive = world
    found = {}
    with logged() as lines, CaptureQueriesContext(connection) as queries:
        write()
        assert run("relay", "--once")[0] == 0
        found["pages"] = read(client)
        found["commands"] = "".join(
            run(*words)[1] for words in (["stats", "--json"], ["keys", "list"], ["keys", "export"])
        )
        found["tables"] = tables()
        found["exceptions"] = " ".join(fail(plugin, settings))
    found["logs"] = " ".join(lines)
    found["queries"] = " ".join(statement for query in queries for statement in ours(query["sql"]))
    found["files"] = b"".join(KeptFile.contents).decode("latin-1")
    found["stream"] = archive.read_text()
    found["prompts"] = " ".join(Keeper.given)
    found["plugins"] = " ".join(plugin.seen)
    return found


def tables():
    with connection.cursor() as cursor:
        names = [name for name in connection.introspection.table_names() if name.startswith("audit_django_")]
        assert set(names) >= TABLES
        rows = []
        for name in names:
            cursor.execute(f"SELECT * FROM {name}")
            rows += cursor.fetchall()
    return repr([[bytes(v) if isinstance(v, memoryview) else v for v in row] for row in rows])


def places_with_the_canary(found):
    return {place for place, text in found.items() if CANARY in text}


def test_it_is_nowhere(world, settings, client):
    found = everywhere(world, settings, client)
    assert places_with_the_canary(found) == set()
    # and all of it was looked at
    assert all(found.values())
    assert found["stream"].count('"sealed"') > 20
    assert found["tables"].count('"mac"') > 20
    assert found["exceptions"].count("SENSITIVE_KEYS does not have") >= 5
    assert "out of order" in found["logs"]
    assert "was lost (best_effort)" in found["logs"]
    assert "INSERT INTO" in found["queries"]


@pytest.mark.slow  # each goes every way of writing again
class TestMutants:
    """Each leaves the value in the clear in one place, and is found there."""

    def test_a_capture_that_hands_over_the_value(self, world, settings, client, monkeypatch):
        monkeypatch.setattr(changes, "_sealed", lambda spec, value: value)
        found = places_with_the_canary(everywhere(world, settings, client))
        assert found >= {"tables", "stream", "prompts", "plugins", "queries", "logs"}

    def test_a_sealer_that_forgets_the_label(self, world, settings, client, monkeypatch):
        monkeypatch.setattr("audit_django.registry.secrets_of", lambda instance: [])
        found = places_with_the_canary(everywhere(world, settings, client))
        assert found >= {"tables", "stream", "prompts", "pages"}

    def test_a_sealer_that_logs(self, world, settings, client, monkeypatch):
        seal = sealing.seal

        def noisy(value, *args):
            logging.getLogger("audit").debug("sealing %r", value)
            return seal(value, *args)

        monkeypatch.setattr(sealing, "seal", noisy)
        assert places_with_the_canary(everywhere(world, settings, client)) == {"logs"}

    def test_a_sealer_that_asks_the_database(self, world, settings, client, monkeypatch):
        seal = sealing.seal

        def asking(value, *args):
            with connection.cursor() as cursor:
                cursor.execute("SELECT %s", [str(value)])
            return seal(value, *args)

        monkeypatch.setattr(sealing, "seal", asking)
        assert places_with_the_canary(everywhere(world, settings, client)) == {"logs", "queries"}

    def test_a_sealer_that_complains(self, world, settings, client, monkeypatch):
        def complaining(state, event):
            try:
                return key_of(state, event)
            except Exception as error:
                values = [change.after for change in event.diff.values()]
                raise ValueError([value.reveal() for value in values if type(value) is Secret]) from error

        monkeypatch.setattr(push, "key_of", complaining)
        assert places_with_the_canary(everywhere(world, settings, client)) >= {"exceptions"}

    def test_an_index_that_has_it(self, world, settings, client, monkeypatch):
        words = "audit_django.outbox.search_words"
        monkeypatch.setattr(words, lambda recorded: f"{CANARY} words")
        assert places_with_the_canary(everywhere(world, settings, client)) == {"tables", "queries", "logs"}


# The page that Django shows for an error with DEBUG on: it has the variables of every function that was on the way.


def save(request):
    customer = Customer.objects.get()
    customer.phone, customer.ssn = customer.ssn, ""
    customer.save()


def update(request):
    Customer.objects.update(phone=F("ssn"))


def delete(request):
    Customer.objects.all().delete()


def bulk_create(request):
    Customer.objects.bulk_create([Customer(name="y", ssn=Customer.objects.get().ssn)])


def upsert(request):
    customer = Customer.objects.get()
    customer.phone = customer.ssn
    unique = {} if connection.vendor == "mysql" else {"unique_fields": ["id"]}
    Customer.objects.bulk_create([customer], update_conflicts=True, update_fields=["phone"], **unique)


def instance(request):
    boss = Boss.objects.get()
    boss.name = "y"
    boss.save()


def null_save(request):
    customer = Customer.objects.get()
    customer.phone, customer.email = None, customer.ssn
    customer.save()


def null_update(request):
    Customer.objects.update(phone=None, ssn=f"{CANARY}2")


def null_bulk_create(request):
    Customer.objects.bulk_create([Customer(name="y", phone=None, ssn=CANARY)])


views = (save, update, delete, bulk_create, upsert, instance, null_save, null_update, null_bulk_create)
urlpatterns = [
    *(path(f"{view.__name__}/", view) for view in views),
    path("audit/", include("audit_django.urls")),
]


@pytest.fixture
def frames():
    """The frames of audit_core and audit_django on the page about the last error, as text."""
    found = []

    def keep(sender, request, **kwargs):
        reporter = ExceptionReporter(request, *sys.exc_info())
        found.extend(
            f"{frame['function']} {frame['vars']!r}"
            for frame in reporter.get_traceback_frames()
            if any(part in str(frame["filename"]) for part in ("audit_core", "audit_django"))
        )

    got_request_exception.connect(keep)
    yield found
    got_request_exception.disconnect(keep)


@pytest.mark.parametrize("address", ["save", "update", "bulk_create", "upsert", "delete", "instance"])
def test_no_frame_of_ours_shows_it_on_a_page_about_an_error(world, settings, client, frames, address):
    Customer.objects.create(name="x", ssn=CANARY)
    Boss.objects.create(name=CANARY)
    lose_the_secret(settings)
    client.raise_request_exception = False
    page = client.get(f"/{address}/")
    assert page.status_code == 500
    assert "KeyMissing" in page.text
    assert {frame.split()[0] for frame in frames} > {"call", "for_scope"}
    assert CANARY not in " ".join(frames)


@pytest.mark.parametrize("address", ["null_save", "null_update", "null_bulk_create"])
def test_nor_when_it_is_the_database_that_fails(world, client, frames, address):
    Customer.objects.create(name="x", ssn=CANARY)
    client.raise_request_exception = False
    page = client.get(f"/{address}/")
    assert "IntegrityError" in page.text
    assert frames
    assert CANARY not in " ".join(frames)
    assert CANARY in page.text  # Django's own functions show what they do without us


def test_a_condition_of_the_application_is_repeated(world):
    """As the documentation says: the rows that an UPDATE or DELETE is about are read before it."""
    Customer.objects.create(name="x", ssn=CANARY)
    with CaptureQueriesContext(connection) as queries:
        Customer.objects.filter(ssn=CANARY).update(phone="1")
    sent = [statement for query in queries for statement in statements(query["sql"])]
    assert [text.split()[0] for text in sent if CANARY in text] == ["SELECT", "UPDATE"]


def test_the_page_about_an_error_shows_no_secret(world, settings, client):
    settings.AUDIT = {**settings.AUDIT, "SENSITIVE_KEYS": [CANARY * 3]}
    client.raise_request_exception = False
    page = client.get("/null_save/")
    assert page.status_code == 500
    assert "SENSITIVE_KEYS" in page.text  # all settings are shown
    assert CANARY * 3 not in page.text
