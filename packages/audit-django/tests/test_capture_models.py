"""Models of every kind, and what becomes of their events when they go. Names that end in a number are those of traps."""

from html import unescape

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.fields import GenericForeignKey, GenericRelation
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.db import connection, migrations, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from django.urls import reverse
from django.utils.translation import gettext_lazy
from made_models import audited, take_away
from testapp.models import Customer, Member, Policy, Tag

from audit_core.query import EventQuery
from audit_core.summarizers.grammar import sentence
from audit_django import AuditableMixin, audit_context, registry
from audit_django.capture import update
from audit_django.storages.database import DatabaseStorage
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db(transaction=True)

BASE = {"app_label": "testapp"}


def told(events):
    return [(event.action, event.target.type.partition(".")[2], event.target.id) for event in events]


def values(event):
    return {name: (change.before, change.after) for name, change in event.diff.items()}


# Keys and names


def test_a_key_of_several_columns_22(monkeypatch):
    class Cell(models.Model):
        pk = models.CompositePrimaryKey("row", "column")
        row = models.CharField(max_length=5)
        column = models.IntegerField()
        value = models.IntegerField(default=0)

        class Meta:
            app_label = "testapp"

    monkeypatch.setattr(update, "PART", 2)
    with audited(Cell), captured_events() as events:
        cell = Cell.objects.create(row="a", column=1)
        cell.value = 5
        cell.save()
        Cell.objects.bulk_create([Cell(row="a", column=2), Cell(row="b", column=1), Cell(row="b", column=2)])
        Cell.objects.update(value=7)
        Cell.objects.get(pk=("b", 2)).delete()
        Cell.objects.filter(row="a").delete()
        a1, a2, b1, b2 = '["a",1]', '["a",2]', '["b",1]', '["b",2]'
        assert told(events) == [
            *(("create", "Cell", key) for key in (a1,)),
            ("update", "Cell", a1),
            *(("create", "Cell", key) for key in (a2, b1, b2)),
            *(("update", "Cell", key) for key in (a1, a2, b1, b2)),
            *(("delete", "Cell", key) for key in (b2, a1, a2)),
        ]
        assert values(events[-2]) == {"row": ("a", None), "column": (1, None), "value": (7, None)}


KEYS = {
    "uuid": lambda: models.UUIDField(primary_key=True),
    "text": lambda: models.CharField(max_length=40, primary_key=True),
    "reference": lambda: models.OneToOneField(Tag, models.CASCADE, primary_key=True, related_name="+"),
}
KEYS["another column"] = lambda: models.CharField(max_length=40, primary_key=True, db_column="Select This")


@pytest.mark.parametrize("kind", KEYS)
def test_keys_that_are_not_called_id_22(kind):
    class Thing(models.Model):
        code = KEYS[kind]()
        value = models.IntegerField(default=0, db_column="order")

        class Meta:
            app_label = "testapp"

    with audited(Thing):
        key = Tag.objects.create(name="x") if kind == "reference" else "0190b2a4-0000-7000-8000-000000000000"
        with captured_events() as events:
            Thing(code=key).save()
            Thing.objects.update(value=1)
            thing = Thing.objects.get()
            thing.value = 2
            thing.save()
            thing.delete()
        wanted = str(key.pk) if kind == "reference" else key
        assert told(events) == [
            (action, "Thing", wanted) for action in ("create", "update", "update", "delete")
        ]
        assert [values(event)["value"] for event in events] == [(None, 0), (0, 1), (1, 2), (2, None)]


TABLES = {"reserved": "select", "mixed case": "Mixed Case", "with a dot": "a.b"}
if connection.vendor == "postgresql":
    TABLES["of another schema"] = 'elsewhere"."thing'  # how people name one, as Django has no way of its own


@pytest.mark.parametrize("table", TABLES)
def test_names_that_must_be_quoted_22(table):
    class Thing(models.Model):
        name = models.CharField(max_length=10, db_column="group")
        tags = models.ManyToManyField(Tag, db_table="from")

        class Meta:
            app_label = "testapp"
            db_table = TABLES[table]

    with connection.cursor() as cursor:
        if table == "of another schema":
            cursor.execute("CREATE SCHEMA elsewhere")
    try:
        with audited(Thing), captured_events() as events:
            with transaction.atomic():
                thing = Thing.objects.create(name="a")
                thing.name = "b"
                thing.save()
            thing.tags.add(Tag.objects.create(name="x"))
            Thing.objects.update(name="c")
            Thing.objects.all().delete()
            actions = [event.action for event in events if event.target.type == "testapp.Thing"]
            assert actions == ["create", "update", "update", "update", "delete"]
    finally:
        with connection.cursor() as cursor:
            if table == "of another schema":
                cursor.execute("DROP SCHEMA elsewhere CASCADE")


# What they are called


def labels_of(text):
    """The label of an event of an object whose ``__str__`` is this."""

    class Thing(models.Model):
        name = models.CharField(max_length=10)
        __str__ = text

        class Meta:
            app_label = "testapp"

    with audited(Thing), captured_events() as events:
        thing = Thing.objects.create(name="a")
        Thing.objects.update(name="b")
        thing.delete()
        assert [event.action for event in events] == ["create", "update", "delete"]
        return {event.target.repr.replace(events[0].target.id, "7") for event in events}


@pytest.mark.parametrize(
    "text",
    [
        lambda self: 7,
        lambda self: None,
        lambda self: b"\xff",
        lambda self: gettext_lazy("Monday"),
        lambda self: self.nowhere,
        lambda self: str(self),
    ],
    ids=["number", "nothing", "bytes", "lazy", "missing", "endless"],
)
def test_a_label_that_is_no_text_56(text, caplog):
    assert labels_of(text) == {"thing 7"}
    assert "so its label is its key" in caplog.text


def test_a_label_that_asks_the_database_18():
    assert labels_of(lambda self: f"one of {type(self).objects.count() * 0}") == {"one of 0"}


def test_a_label_that_names_a_parent_which_is_gone_18(caplog):
    class Line(models.Model):
        policy = models.ForeignKey(Policy, models.DO_NOTHING, db_constraint=False, related_name="+")
        amount = models.IntegerField(default=0)

        class Meta:
            app_label = "testapp"

        def __str__(self):
            return f"line of {self.policy.number}"

    policy = Policy.objects.create(number="P-1", customer=Customer.objects.create(name="Jane"))
    with audited(Line), captured_events() as events:
        line = Line.objects.create(policy=policy)
        Policy.objects.filter(pk=policy.pk).delete()
        line = Line.objects.get()
        line.amount = 5
        line.save()
        key = line.pk
        line.delete()
        lines = [event for event in events if event.target.type == "testapp.Line"]
        assert [event.target.repr for event in lines] == ["line of P-1", f"line {key}", f"line {key}"]


def test_a_label_is_frozen_when_it_happens_18():
    with captured_events() as events:
        tag = Tag.objects.create(name="first")
        with transaction.atomic():
            for name in ("second", "third"):
                tag.name = name
                tag.save()
            tag.name = "never saved"
    assert [event.target.repr for event in events] == ["first", "second", "third"]


def test_select_for_update_and_another_alias_by_name_15():
    with captured_events() as events, transaction.atomic():
        tag = Tag.objects.select_for_update().get(pk=Tag.objects.create(name="x").pk)
        tag.name = "y"
        tag.save()
    assert values(events.one("update", tag)) == {"name": ("x", "y")}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_save_using_another_alias_15():
    tag = Tag.objects.create(name="x")
    with captured_events("default") as here, captured_events("other") as there:
        tag.name = "y"
        tag.save(using="other")
        tag.name = "z"
        tag.save(using="other")
    here.assert_nothing_recorded()
    assert [(event.action, values(event)) for event in there] == [
        ("create", {"name": (None, "y")}),
        ("update", {"name": ("y", "z")}),
    ]


# What goes with an object


def test_set_default_and_a_function_17():
    class Shelf(models.Model):
        name = models.CharField(max_length=10)

        class Meta:
            app_label = "testapp"

        def __str__(self):
            return self.name

    def last_shelf():
        return Shelf.objects.order_by("pk").last()

    class Book(models.Model):
        shelf = models.ForeignKey(Shelf, models.SET_DEFAULT, default=1, related_name="+")
        room = models.ForeignKey(Shelf, models.SET(last_shelf), related_name="+")

        class Meta:
            app_label = "testapp"

    with audited(Shelf, Book):
        first, gone, last = (Shelf.objects.create(pk=pk, name=f"S-{pk}") for pk in (1, 2, 3))
        book = Book.objects.create(shelf=gone, room=gone)
        with captured_events() as events:
            gone.delete()
        changed = {}
        for event in events.matching("update", book):
            changed |= {name: (c.before["repr"], c.after) for name, c in event.diff.items()}
        assert changed == {
            "shelf": ("S-2", {"pk": first.pk, "repr": "S-1"}),
            "room": ("S-2", {"pk": last.pk, "repr": "S-3"}),
        }


def test_generic_relations_17():
    class Remark(models.Model):
        text = models.CharField(max_length=10)
        content_type = models.ForeignKey(ContentType, models.CASCADE, related_name="+")
        object_id = models.PositiveIntegerField()
        subject = GenericForeignKey()

        class Meta:
            app_label = "testapp"

    class Case(models.Model):
        remarks = GenericRelation(Remark)

        class Meta:
            app_label = "testapp"

    with audited(Remark, Case):
        case, other = Case.objects.create(), Case.objects.create()
        with captured_events() as events:
            case.remarks.create(text="a")
            case.remarks.add(Remark(text="b", subject=other), bulk=False)
            Remark.objects.create(text="of another", subject=other)
            case.remarks.all().update(text="c")
            key = str(case.pk)
            case.delete()
        assert [(event.action, event.target.type) for event in events] == [
            *[("create", "testapp.Remark")] * 3,
            *[("update", "testapp.Remark")] * 2,
            ("delete", "testapp.Case"),
            *[("delete", "testapp.Remark")] * 2,
        ]
        assert events[0].diff["object_id"].after == case.pk or int(key)
        assert [event.related[0].key for event in events[-2:]] == [("testapp.Case", key)] * 2
        Case.objects.all().delete()


def test_what_the_database_deletes_by_itself_is_left_to_it_17():
    """The event of what Django deletes is there; that of the rows behind its back is not, as the docs say."""

    class Cargo(models.Model):
        name = models.CharField(max_length=10)

        class Meta:
            app_label = "testapp"

    class Crate(models.Model):
        cargo = models.ForeignKey(Cargo, models.DO_NOTHING, related_name="+", db_constraint=False)

        class Meta:
            app_label = "testapp"

    on = "ON testapp_cargo" if connection.vendor == "postgresql" else ""
    body = "DELETE FROM testapp_crate WHERE cargo_id = OLD.id;"
    trigger = f"CREATE TRIGGER cascade_crates AFTER DELETE ON testapp_cargo FOR EACH ROW BEGIN {body} END"
    with audited(Cargo, Crate), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"CREATE FUNCTION cascade_crates() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN OLD; END $$"
            )
            trigger = f"CREATE TRIGGER cascade_crates AFTER DELETE {on} FOR EACH ROW EXECUTE FUNCTION cascade_crates()"
        cursor.execute(trigger)
        try:
            cargo = Cargo.objects.create(name="a")
            Crate.objects.create(cargo=cargo)
            with captured_events() as events:
                cargo.delete()
            assert [(event.action, event.target.type) for event in events] == [("delete", "testapp.Cargo")]
            assert not Crate.objects.exists()
        finally:
            cursor.execute(f"DROP TRIGGER cascade_crates {on}")
            if connection.vendor == "postgresql":
                cursor.execute("DROP FUNCTION cascade_crates")


# What stays


@pytest.fixture
def reader(client):
    user = User.objects.create_user("carol", password="a password")
    user.user_permissions.add(Permission.objects.get(codename="view_audit_log"))
    client.force_login(user)
    return client


def page(reader, *address, **query):
    response = reader.get(reverse(*address[:1], args=address[1:]), query)
    assert response.status_code == 200
    return unescape(response.text)


def assert_readable(reader, events, words):
    """The trail tells of a model as it was: the storage, the sentence, the timeline, the page and the JSON of an event."""
    found = DatabaseStorage().search(EventQuery(target_types=["testapp.Robot"], target_id="1")).events
    assert [recorded.event.action for recorded in reversed(found)] == [event.action for event in events]
    list_of_events = page(reader, "audit:timeline", model="testapp.Robot", object="1")
    for event, told_of in zip(events, words, strict=True):
        assert told_of in sentence(event)
        assert str(event.id) in list_of_events
        detail = page(reader, "audit:event", event.id)
        for change in event.diff.values():
            assert str(change.after) in detail
        assert page(reader, "audit:event-json", event.id)


def robot(**fields):
    return type("Robot", (models.Model,), {
        "__module__": __name__, "Meta": type("Meta", (), BASE), "name": models.CharField(max_length=10),
        "__str__": lambda self: self.name, **fields,
    })  # fmt: skip


def test_a_column_that_was_dropped_27(reader):
    old = robot(colour=models.CharField("paint", max_length=10, choices=[("r", "Red")]))
    with audited(old), captured_events() as events:
        item = old.objects.create(pk=1, name="R2", colour="r")
        with connection.schema_editor() as editor:
            editor.remove_field(old, old._meta.get_field("colour"))
        take_away(old)
        new = robot()  # which goes by the old one's name, and with its table
        registry.register(new)
        item = new.objects.get()
        item.name = "D2"
        item.save()
        seen = list(events)
        assert [values(event) for event in seen] == [
            {"name": (None, "R2"), "colour": (None, "r")},
            {"name": ("R2", "D2")},
        ]
        assert seen[0].diff["colour"].label == "paint"
        assert_readable(reader, seen, ["paint Red", "from R2 to D2"])


def test_a_model_that_was_dropped_27(reader):
    model = robot()
    with captured_events() as events:
        with audited(model):
            item = model.objects.create(pk=1, name="R2")
            item.name = "D2"
            item.save()
        seen = list(events)
        with pytest.raises(LookupError):
            apps.get_model("testapp.Robot")
        assert_readable(reader, seen, ["robot R2", "robot D2"])


def test_neither_its_content_type_nor_its_user_takes_events_along_26(reader):
    alice = User.objects.create_user("alice", first_name="Alice", last_name="Ames")
    with captured_events() as events, audit_context(actor=alice):
        tag = Tag.objects.create(name="Critical")
        tag.delete()
    key = str(alice.pk)
    alice.delete()
    ContentType.objects.get_for_model(Tag).delete()
    try:
        assert [(event.action, event.target.repr) for event in events] == [
            ("create", "Critical"),
            ("delete", "Critical"),
        ]
        assert {(event.actor.id, event.actor.repr) for event in events} == {(key, "Alice Ames")}
        assert "Alice Ames" in page(reader, "audit:timeline", model="testapp.Tag")
        assert "Alice Ames" in page(reader, "audit:timeline", actor=key)
    finally:
        ContentType.objects.clear_cache()
        ContentType.objects.get_for_model(Tag)


# Models that come from somewhere else


def test_a_historical_model_of_a_migration_55():
    """It is not the application's own, as the docs say: it is written as without us."""
    state = MigrationExecutor(connection).loader.project_state()
    tag_then, policy_then = (state.apps.get_model("testapp", name) for name in ("Tag", "Policy"))
    customer_then = state.apps.get_model("testapp", "Customer")
    with captured_events() as events:
        tag = tag_then.objects.create(name="x")
        tag.name = "y"
        tag.save()
        policy = policy_then.objects.create(number="P", customer=customer_then.objects.create(name="Jane"))
        policy.tags.add(tag)
        policy_then.objects.update(number="Q")
        policy_then.objects.bulk_create([policy_then(number="R", customer=policy.customer)])
        policy.delete()
    assert policy_then.objects.get().number == "R"
    events.assert_nothing_recorded()
    with captured_events() as events:  # and the application's own is still audited
        Tag.objects.get().delete()
    events.one("delete")


def test_a_data_migration_of_an_audited_model_55(settings):
    """``RunPython`` in a migration that also changes the table, as one that fills a new column."""
    settings.AUDIT = {"MODELS": "all"}

    def fill(apps, schema_editor):
        apps.get_model("testapp", "Tag").objects.update(name="filled")

    operations = [
        migrations.AddField("tag", "colour", models.CharField(max_length=10, null=True)),
        migrations.RunPython(fill),
    ]
    Tag.objects.create(name="x")
    migration = migrations.Migration("0002_colour", "testapp")
    migration.operations = operations
    loader = MigrationExecutor(connection).loader
    state = loader.project_state()
    with captured_events() as events:
        with connection.schema_editor(atomic=False) as editor:
            state = migration.apply(state, editor)
        try:
            assert Tag.objects.get().name == "filled"
        finally:
            with connection.schema_editor() as editor:
                then = state.apps.get_model("testapp", "Tag")
                editor.remove_field(then, then._meta.get_field("colour"))
    events.assert_nothing_recorded()
    assert isinstance(state, ProjectState)


@pytest.mark.parametrize("how", ["registered", "all"])
def test_a_model_that_is_defined_when_all_is_ready_55(how, settings):
    settings.AUDIT = {"MODELS": how}

    class Late(models.Model):
        name = models.CharField(max_length=10)
        tags = models.ManyToManyField(Tag)

        class Meta:
            app_label = "testapp"

    with connection.schema_editor() as editor:
        editor.create_model(Late)
    try:
        if how == "registered":
            registry.register(Late)
        tag = Tag.objects.create(name="x")
        with captured_events() as events:
            late = Late.objects.create(name="a")
            late.tags.add(tag)
            late.delete()
        assert [event.action for event in events] == ["create", "update", "delete"]
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Late)
        take_away(Late)


def test_a_late_model_that_is_watched_as_it_is_loaded_55(django_assert_num_queries):
    apps.get_models()  # which keeps its answer

    class Late(AuditableMixin, models.Model):
        audit_options = {"before": "instance"}  # noqa: RUF012
        name = models.CharField(max_length=10)

        class Meta:
            app_label = "testapp"

    with connection.schema_editor() as editor:
        editor.create_model(Late)
    try:
        Late.objects.create(name="a")
        late = Late.objects.get()
        late.name = "b"
        with captured_events() as events, transaction.atomic(), django_assert_num_queries(1):
            late.save()
        assert values(events.one("update")) == {"name": ("a", "b")}
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Late)
        take_away(Late)


def test_an_unmanaged_model_55():
    class Report(models.Model):
        name = models.CharField(max_length=50)

        class Meta:
            app_label = "testapp"
            managed = False
            db_table = Tag._meta.db_table

    registry.register(Report)
    try:
        with captured_events() as events:
            Report.objects.create(name="x")
            Report.objects.update(name="y")
        assert told(events) == [
            (action, "Report", str(Tag.objects.get().pk)) for action in ("create", "update")
        ]
    finally:
        take_away(Report)


def test_abstract_and_swapped_models_55(settings):
    settings.AUDIT = {"MODELS": "all"}

    class Base(models.Model):
        name = models.CharField(max_length=10)

        class Meta:
            app_label = "testapp"
            abstract = True

    class Ours(Base):
        class Meta:
            app_label = "testapp"

    settings.TESTAPP_THING = "testapp.Ours"

    class Theirs(Base):
        class Meta:
            app_label = "testapp"
            swappable = "TESTAPP_THING"

    assert Theirs._meta.swapped
    try:
        with audited(Ours), captured_events() as events:
            registry.unregister(Ours)  # "all" is enough
            assert {Base, Theirs}.isdisjoint(registry.tracked_models())
            Ours.objects.create(name="x")
            assert told(events)[0][:2] == ("create", "Ours")
    finally:
        take_away(Theirs)


# Relations of many to many, from models that inherit them


def test_a_through_model_that_inherits_19():
    class Link(models.Model):
        note = models.CharField(max_length=10, default="")

        class Meta:
            app_label = "testapp"
            abstract = True

    class Team(models.Model):
        members = models.ManyToManyField(Member, through="testapp.Seating", related_name="+")

        class Meta:
            app_label = "testapp"

    class Seating(Link):
        team = models.ForeignKey(Team, models.CASCADE, related_name="+")
        member = models.ForeignKey(Member, models.CASCADE, related_name="+")

        class Meta:
            app_label = "testapp"

    with audited(Team, Seating):
        team, member = Team.objects.create(), Member.objects.create(code="ann")
        with captured_events() as events:
            team.members.add(member, through_defaults={"note": "chair"})
            team.members.add(member)
            team.members.set([])
        changes = [event.diff["members"] for event in events if "members" in event.diff]
        assert [(change.added, change.removed) for change in changes] == [
            ([{"pk": "ann", "repr": "ann"}], []),
            ([], [{"pk": "ann", "repr": "ann"}]),
        ]


def test_a_fixture_with_links_20():
    policy = Policy.objects.create(number="P", customer=Customer.objects.create(name="Jane"))
    one, two = (Tag.objects.create(name=name) for name in ("one", "two"))
    policy.tags.add(one)
    fixture = serializers.serialize("json", [policy])
    policy.tags.set([two])
    with captured_events() as events:
        for loaded in serializers.deserialize("json", fixture):
            loaded.save()
    change = events.one("update", policy, changed="tags").diff["tags"]
    assert (change.added, change.removed) == (
        [{"pk": one.pk, "repr": "one"}],
        [{"pk": two.pk, "repr": "two"}],
    )
