"""Each way of asking has an index that it is answered from, in the order of the answer."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from audit_core.event import Context, Target
from audit_core.query import EventQuery, InvalidQuery, encode_cursor
from audit_core.testing import make_event
from audit_storage_mongodb.documents import document_of
from audit_storage_mongodb.indexes import INDEXES
from audit_storage_mongodb.queries import condition, sort_key

SINCE = datetime(2026, 3, 3, 12, tzinfo=UTC)
POLICY = {"target_types": ["policies.Policy"], "target_id": "1"}


def fixed(query):
    """The fields that the conditions fix to one value, or to some."""
    conditions = condition(query).get("$and", [])
    return {
        field
        for one in conditions
        for field, value in one.items()
        if not isinstance(value, dict) or set(value) == {"$in"}
    }


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "audit_time"),
        ({"since": SINCE}, "audit_time"),
        (POLICY, "audit_history"),
        ({**POLICY, "since": SINCE, "actions": ["update"]}, "audit_history"),
        ({"target_types": ["a.A", "b.B"]}, "audit_type"),
        ({"actor_id": "7"}, "audit_actor"),
        ({"tenants": ["acme"]}, "audit_tenant"),
        ({"tenants": ["acme", "globex"]}, "audit_tenant"),
        ({"actions": ["login_failed"]}, "audit_action"),
    ],
)
@pytest.mark.parametrize("newer", [False, True])
def test_a_page_is_read_from_an_index_without_sorting(filters, index, newer):
    # MongoDB's rule: what is equal comes first in the index, then the order; the range is over the order itself.
    place = "0000000000000042.0190163d8694739baea2b5f8b9b7b4ff"
    if not EventQuery(**filters).is_history:
        place = f"2026-03-03T12:00:00.000001Z {place}"
    for more in ({}, {"cursor": encode_cursor(place), "newer": newer}):
        if newer and not more:
            continue
        query = EventQuery(**filters, **more)
        *first, last = INDEXES[index]
        assert last == sort_key(query)
        assert set(first) <= fixed(query)
        assert ({last: {"$gt" if newer else "$lt": place}} in condition(query).get("$and", [])) is bool(more)


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"request_id": "r-1"}, "audit_request"),
        ({"field": "premium"}, "audit_fields"),
        ({"text": "a b"}, "audit_words"),
    ],
)
def test_what_is_rare_is_found_by_an_index_of_its_own(filters, index):
    assert set(INDEXES[index]) <= fixed(EventQuery(**filters))


def test_the_last_word_may_be_begun():
    assert condition(EventQuery(text="Alice Straß"))["$and"] == [
        {"words": "alice"},
        {"words": {"$regex": "^straß"}},
    ]


@pytest.mark.parametrize("text", [".*", "a.c", "(a", "^a", "$", "a$", "[a-z]", "\\Qa", "a\nb", "%", "_", "•"])
def test_no_pattern_gets_into_the_pattern(text):
    found = condition(EventQuery(text=text))["$and"][-1]["words"]
    assert found in (
        {"$in": []},
        {"$regex": "^a"},
        {"$regex": "^b"},
        {"$regex": "^c"},
        {"$regex": "^z"},
        {"$regex": "^qa"},
    )


def test_blank_text_is_no_filter():
    assert condition(EventQuery(text=" \t")) == {}


def test_a_search_has_no_end_of_words():
    assert len(condition(EventQuery(text="a " * 5000))["$and"]) == 250


class TestPositions:
    """The strings that carry the orders."""

    def place(self, **values):
        return document_of(make_event(**values))

    def test_a_microsecond_and_then_the_seq_decide(self):
        moment = datetime(2026, 3, 3, 12, 0, 0, 1, tzinfo=UTC)
        places = [
            self.place(occurred_at=moment.replace(microsecond=0), seq=9),
            self.place(occurred_at=moment, seq=2),
            self.place(occurred_at=moment, seq=10),
            self.place(occurred_at=moment),
            self.place(occurred_at=moment.replace(microsecond=2), seq=1),
        ]
        found = [place["time_order"] for place in places]
        assert found == sorted(found)
        assert len({len(place["order"]) for place in places if "seq" in place}) == 1

    def test_two_logs_may_use_one_seq(self):
        moment = datetime(2026, 3, 3, tzinfo=UTC)
        assert (
            self.place(occurred_at=moment, seq=1)["order"] != self.place(occurred_at=moment, seq=1)["order"]
        )

    def test_a_moment_is_below_every_position_at_it(self):
        document = self.place(occurred_at=SINCE, seq=1)
        since, until = condition(EventQuery(since=SINCE))["$and"], condition(EventQuery(until=SINCE))["$and"]
        assert since[0]["time_order"]["$gte"] < document["time_order"]
        assert not document["time_order"] < until[0]["time_order"]["$lt"]

    @pytest.mark.parametrize("seq", [0, 1, 2**53 - 1, None])
    @pytest.mark.parametrize("key", ["order", "time_order"])
    def test_every_position_is_a_cursor(self, seq, key):
        cursor = encode_cursor(self.place(seq=seq)[key])
        history = POLICY if key == "order" else {}
        assert condition(EventQuery(cursor=cursor, **history))
        with pytest.raises(InvalidQuery):  # not of the other order
            condition(EventQuery(cursor=cursor, **({} if history else POLICY)))


class TestDocuments:
    def test_only_what_is_known_is_there(self):
        document = document_of(make_event("login_failed", target=None, actor=None, diff={}, seq=1))
        assert document.keys() == {
            *("_id", "layout", "occurred_at", "time_order", "order", "seq", "category", "action", "outcome"),
            *("fields", "words", "text"),
        }

    def test_nothing_is_nested_and_no_name_comes_from_outside(self):
        # MongoDB's tools stumble over names with dots and dollars.
        event = make_event(diff={"$a.b": (None, {"$c": [["d"]]})}, extra={"$e": {"f.g": 1}}, seq=1)
        document = document_of(event)
        assert not [name for name in document if "." in name or "$" in name]
        assert not [value for value in document.values() if isinstance(value, dict)]
        assert document["fields"] == ["$a.b"]

    def test_what_utf8_cannot_hold_is_made_visible_on_both_sides(self):
        document = document_of(
            make_event(context=Context(request_id="a\x00b"), target=Target(type="t.T", id="1"))
        )
        [one] = condition(EventQuery(request_id="a\x00b"))["$and"]
        assert one == {"request_id": document["request_id"]}
        assert condition(EventQuery(actor_id="\ud800"))["$and"] == [{"actor_id": "\\ud800"}]
