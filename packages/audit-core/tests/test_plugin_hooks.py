"""How hooks are called, and what happens when one of them raises."""

from __future__ import annotations

import json
import logging
from decimal import Decimal

import pytest

from audit_core.errors import EncodeError
from audit_core.plugins.errors import HookError
from audit_core.plugins.manager import PluginManager
from audit_core.plugins.markers import hookimpl
from audit_core.recorder import Recorder
from audit_core.testing import make_event

SECRET = "078-05-1120"


@pytest.fixture
def plugins(plugin_object):
    """A manager of these plugins: ``plugins(alice={"audit_resolve_actor": function})``."""

    def make(**by_name):
        return PluginManager([], plugins={name: plugin_object(**hooks) for name, hooks in by_name.items()})

    return make


def fails(*arguments):
    raise RuntimeError(f"cannot handle {SECRET}")


class Money:
    amount = "1.50"


# hooks that are asked


def test_without_a_plugin_nobody_answers():
    plugins = PluginManager([])
    event = make_event()
    assert plugins.encode_value(object()) is None
    assert plugins.diff_field("field", 1, 2) is None
    assert plugins.resolve_actor() is None
    assert plugins.enrich_event(event.event) == {}
    plugins.event_recorded(event)
    plugins.batch_delivered("archive", [event])
    plugins.delivery_failed("archive", [event], OSError(), 1, False)
    assert not plugins.wants_recorded_events


def test_the_first_answer_counts_in_the_order_of_names(plugins):
    asked = []

    def answer(name, actor):
        return {"audit_resolve_actor": lambda: asked.append(name) or actor}

    assert plugins(c=answer("c", "Carol"), b=answer("b", "Bob"), a=answer("a", None)).resolve_actor() == "Bob"
    assert asked == ["a", "b"]


def test_a_plugin_may_be_asked_first():
    class Early:
        @staticmethod
        @hookimpl(tryfirst=True)
        def audit_resolve_actor():
            return "Zoe"

    class Usual:
        @staticmethod
        @hookimpl
        def audit_resolve_actor():
            return "Alice"

    assert PluginManager([], plugins={"a": Usual(), "z": Early()}).resolve_actor() == "Zoe"


def test_a_value_that_json_does_not_know_is_encoded_by_a_plugin(plugins):
    manager = plugins(
        money={"audit_encode_value": lambda value: value.amount if isinstance(value, Money) else None}
    )
    event = Recorder(manager).build("pay", extra={"sum": Money()}).event
    assert event.extra == {"sum": "1.50"}
    with pytest.raises(EncodeError, match="has no JSON form"):
        Recorder(manager).build("pay", extra={"sum": object()})


def test_a_plugin_says_who_acts_when_nobody_else_does(plugins):
    manager = plugins(sso={"audit_resolve_actor": lambda: {"id": "7", "username": "alice"}})
    assert Recorder(manager).build("view").event.actor.username == "alice"
    assert Recorder(manager).build("view", actor="Bob").event.actor.username == "Bob"


@pytest.mark.parametrize(
    ("answer", "change"),
    [
        (None, None),
        ({}, {}),
        ({"before": 1, "after": Decimal("2.50")}, {"before": 1, "after": "2.50"}),
    ],
)
def test_a_field_may_be_compared_by_a_plugin(plugins, answer, change):
    seen = []
    manager = plugins(
        geo={"audit_diff_field": lambda field, before, after: seen.append((field, before, after)) or answer}
    )
    assert manager.diff_field("place", "old", "new") == change
    assert seen == [("place", "old", "new")]


@pytest.mark.parametrize("answer", [7, True, {"before": 1}, {"before": 1, "after": 2, "more": 3}])
def test_an_answer_that_is_no_change_is_refused(plugins, answer):
    manager = plugins(geo={"audit_diff_field": lambda field, before, after: answer})
    with pytest.raises(HookError, match="geo answered audit_diff_field with something else"):
        manager.diff_field("place", 1, 2)


@pytest.mark.parametrize(
    ("hook", "function", "call", "error_class"),
    [
        ("audit_encode_value", lambda value: fails(), lambda m: m.encode_value(SECRET), EncodeError),
        ("audit_diff_field", lambda field: fails(), lambda m: m.diff_field("ssn", SECRET, ""), HookError),
        ("audit_resolve_actor", lambda: fails(), lambda m: m.resolve_actor(), HookError),
    ],
)
def test_a_failing_answer_names_plugin_hook_and_line_and_tells_no_secret(
    plugins, hook, function, call, error_class
):
    manager = plugins(sso={hook: function})
    with pytest.raises(error_class) as caught:
        call(manager)
    message = str(caught.value)
    assert f"Plugin sso raised RuntimeError in {hook} (" in message
    assert f"{__name__}, line " in message
    assert "AUDIT_BLOCKED_PLUGINS=sso" in message
    assert SECRET not in message
    assert caught.value.__cause__ is None  # nor does a traceback in a log
    assert caught.value.__suppress_context__


# enrichment


def test_each_plugin_adds_under_its_own_name(plugins):
    manager = plugins(
        release={"audit_enrich_event": lambda: {"version": "4.2", "at": Decimal("1.0")}},
        trace={"audit_enrich_event": lambda event: {"action": event.action}},
        silent={"audit_enrich_event": lambda event: None},
        empty={"audit_enrich_event": lambda event: {}},
    )
    event = Recorder(manager).build("view", extra={"mine": 1})
    assert event.event.extra == {
        "mine": 1,
        "release": {"version": "4.2", "at": "1.0"},
        "trace": {"action": "view"},
    }
    assert json.loads(event.text)["extra"] == event.event.extra


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda event: fails(), "RuntimeError"),
        (lambda event: "4.2", "TypeError"),
        (lambda event: {"version": object()}, "EncodeError"),
        (lambda event: event.diff.clear(), "AttributeError"),
        (lambda event: event.diff.__setitem__("status", None), "AttributeError"),
        (lambda event: event.extra.update(a=1), "AttributeError"),
        (lambda event: setattr(event, "action", "nothing"), "FrozenInstanceError"),
    ],
)
def test_an_enrichment_that_fails_loses_no_event_and_changes_none(plugins, caplog, function, error):
    manager = plugins(bad={"audit_enrich_event": function}, good={"audit_enrich_event": lambda: {"ok": True}})
    diff = make_event().event.diff
    event = Recorder(manager).build("update", diff=diff, extra={"mine": 1}).event
    assert event.extra == {"mine": 1, "bad": {"error": error}, "good": {"ok": True}}
    assert event.diff == make_event().event.diff
    [record] = caplog.records
    assert (record.name, record.levelno) == ("audit.plugins", logging.ERROR)
    assert "bad" in record.getMessage()
    assert record.exc_info is not None


# hooks that are told


def test_every_listener_hears_what_it_asks_for(plugins):
    heard = []
    event = make_event()
    error = OSError("down")
    manager = plugins(
        a={
            "audit_event_recorded": lambda event: heard.append(event),
            "audit_batch_delivered": lambda sink: heard.append(sink),
            "audit_delivery_failed": lambda attempt, error: heard.append((attempt, error)),
        },
        b={
            "audit_delivery_failed": lambda sink, events, error, attempt, final: heard.append(
                (sink, events, final)
            )
        },
    )
    assert manager.wants_recorded_events
    manager.event_recorded(event)
    manager.batch_delivered("archive", [event])
    manager.delivery_failed("archive", [event], error, 3, True)
    assert heard == [event, "archive", (3, error), ("archive", [event], True)]


@pytest.mark.parametrize(
    ("hook", "tell"),
    [
        ("audit_event_recorded", lambda m: m.event_recorded(make_event())),
        ("audit_batch_delivered", lambda m: m.batch_delivered("archive", [])),
        ("audit_delivery_failed", lambda m: m.delivery_failed("archive", [], OSError(), 1, True)),
    ],
)
def test_a_failing_listener_is_logged_with_its_name_and_stops_nobody(plugins, caplog, hook, tell):
    heard = []
    manager = plugins(a={hook: lambda: fails()}, b={hook: lambda: heard.append(hook)})
    tell(manager)
    assert heard == [hook]
    [record] = caplog.records
    assert record.name == "audit.plugins"
    assert record.getMessage().startswith(f"Plugin a raised in {hook}")


def test_no_listener_is_told_apart_from_a_hook_that_does_not_exist():
    assert PluginManager([]).implements("audit_diff_field") is False
    with pytest.raises(KeyError):
        PluginManager([]).implements("audit_diff_fields")
