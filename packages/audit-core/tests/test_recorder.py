"""Ids, scopes, seals, and the recorder that puts them together."""

import threading
from contextvars import copy_context
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_core import audit_context, ids, with_reason
from audit_core.context import capture_off, current
from audit_core.errors import EncodeError
from audit_core.event import Actor, Target
from audit_core.ids import uuid7
from audit_core.plugins.manager import PluginManager
from audit_core.plugins.markers import hookimpl
from audit_core.query import EventQuery, InvalidQuery, decode_cursor, encode_cursor
from audit_core.recorder import Recorder, actor_from

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class TestIds:
    def test_they_are_of_version_7_and_hold_the_time(self):
        before = datetime.now(UTC)
        made = uuid7()
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
        assert abs((made.int >> 80) / 1000 - before.timestamp()) < 5

    def test_they_grow_also_when_the_clock_steps_back(self, monkeypatch):
        made = [uuid7() for _ in range(2000)]
        monkeypatch.setattr(ids.time, "time_ns", lambda: 0)
        made += [uuid7() for _ in range(2000)]
        assert made == sorted(made)
        assert len(set(made)) == 4000

    def test_threads_share_the_counter(self):
        made = []
        threads = [
            threading.Thread(target=lambda: made.extend(uuid7() for _ in range(2000))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(made)) == 8000


class TestScopes:
    def test_what_is_not_named_is_inherited_and_none_clears(self):
        with audit_context(actor="alice", reason="outer", ip="10.0.0.1", ticket="T-1"):
            with audit_context(reason=None, order=7):
                scope = current()
                assert (scope.actor, scope.reason, scope.context.ip) == ("alice", None, "10.0.0.1")
                assert scope.extra == {"ticket": "T-1", "order": 7}
            assert current().extra == {"ticket": "T-1"}
        assert current().actor is None

    def test_another_context_is_left_alone(self):
        inside = copy_context()
        with audit_context(actor="alice"):
            assert inside.run(lambda: current().actor) is None

    def test_a_decorated_function_may_be_called_again(self):
        @with_reason("because")
        def act():
            return current().reason

        assert [act(), act(), current().reason] == ["because", "because", None]

    def test_capture_off(self):
        with capture_off("import"):
            assert current().disabled == "import"
        assert current().disabled is None


class Plugin:
    @hookimpl
    def audit_resolve_actor(self):
        return {"id": 9, "username": "plugin"}

    @hookimpl
    def audit_enrich_event(self, event):
        return {"host": "web-1"}


class TestRecorder:
    def build(self, *, plugin=None, **values):
        plugins = PluginManager(entry_points=[], plugins={"mine": plugin} if plugin else {})
        return Recorder(plugins, clock=lambda: NOON).build("approved", **values).event

    def test_the_scope_and_what_is_passed(self):
        with audit_context(actor="alice", tenant="t1", reason="scope", ticket="T-1"):
            event = self.build(reason="passed", extra={"when": NOON})
        assert (event.actor.username, event.tenant, event.reason) == ("alice", "t1", "passed")
        assert event.extra == {"ticket": "T-1", "when": "2026-03-01T12:00:00Z"}
        assert event.occurred_at == NOON

    def test_actor_and_tenant_may_be_asked_when_recording(self):
        with audit_context(actor=lambda: {"id": 7}, tenant=lambda: "late"):
            event = self.build()
        assert (event.actor, event.tenant) == (Actor(id="7"), "late")

    def test_plugins_are_asked_when_nobody_is_named(self):
        event = self.build(plugin=Plugin())
        assert event.actor == Actor(id="9", username="plugin")
        assert event.extra == {"mine": {"host": "web-1"}}
        assert self.build(plugin=Plugin(), actor="bob").actor.username == "bob"

    def test_text_is_fit_for_every_database(self):
        event = self.build(target=Target(type="a.B", id="1", repr="a\x00b\ud800"), reason="x\x00")
        assert event.target.repr == "a\\u0000b\\ud800"
        assert event.reason == "x\\u0000"

    def test_extra_without_a_form_is_named(self):
        with pytest.raises(EncodeError, match=r"extra\['what'\]"):
            self.build(extra={"what": object()})

    def test_actors(self):
        assert actor_from(None) is None
        assert actor_from({}) is None
        assert actor_from({"id": 1, "repr": ""}) == Actor(id="1")


class TestQueries:
    @pytest.mark.parametrize(
        ("values", "named"),
        [
            ({"limit": 0}, "limit"),
            ({"limit": 10_000}, "limit"),
            ({"target_id": "1"}, "target_id"),
            ({"since": datetime(2026, 1, 1)}, "since"),
            ({"since": NOON, "until": NOON}, "since"),
            ({"since": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))}, "since"),
            ({"until": datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))}, "until"),
            ({"newer": True}, "cursor"),
        ],
    )
    def test_an_impossible_query_names_the_filter_to_drop(self, values, named):
        with pytest.raises(InvalidQuery) as caught:
            EventQuery(**values)
        assert caught.value.filter == named

    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(), st.integers())
    def test_cursors_are_opaque_and_come_back(self, text, number):
        cursor = encode_cursor(text, number)
        assert decode_cursor(cursor, str, int) == [text, number]
        with pytest.raises(InvalidQuery):
            decode_cursor(cursor, int)
