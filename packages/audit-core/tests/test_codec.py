"""The canonical form: one text for one event, whatever made its values."""

import json
import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_core import codec
from audit_core.codec import (
    canonical,
    decode,
    encode,
    format_duration,
    from_plain,
    leaf_hash,
    plain,
    safe_text,
)
from audit_core.diff import Change
from audit_core.errors import EncodeError
from audit_core.event import (
    Actor,
    Category,
    Context,
    Event,
    Outcome,
    RecordedEvent,
    Target,
    format_timestamp,
    parse_timestamp,
)
from audit_core.testing import make_event

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ID = UUID("01a1fc3d-1770-71c9-b989-74b38e59b3d4")


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (0.5, 0.5),
        (2.0, 2),
        (-0.0, 0),
        (1e300, "1e+300"),
        (1e-9, "1e-09"),
        (math.inf, "inf"),
        (Decimal("0.00"), "0.00"),
        (Decimal("1E+3"), "1000"),
        (Decimal("NaN"), "NaN"),
        (date(2026, 3, 1), "2026-03-01"),
        (time(9, 30), "09:30:00"),
        (NOON.astimezone(timezone(timedelta(hours=2))), "2026-03-01T12:00:00Z"),
        (datetime(2026, 3, 1, 12), "2026-03-01T12:00:00"),
        (timedelta(hours=2, minutes=15), "P0DT02H15M00S"),
        (ID, str(ID)),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (b"\x00\xff", {"base64": "AP8="}),
        ({"b", "a"}, ["a", "b"]),
        ((1, [2]), [1, [2]]),
        ({1: 2**60, "x": 1e300}, {"1": {"$numberLong": str(2**60)}, "x": {"$numberDouble": "1e+300"}}),
        ("a\x00b\ud800", "a\\u0000b\\ud800"),
    ],
)
def test_plain_values(value, expected):
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)


def test_a_large_value_is_its_digest():
    text = "ä" * 40_000
    assert plain(text) == {"sha256": sha256(text.encode()).hexdigest(), "length": 40_000}
    assert plain(b"x" * 11, max_bytes=10) == {"sha256": sha256(b"x" * 11).hexdigest(), "length": 11}


def test_what_has_no_form_says_what_to_do():
    with pytest.raises(EncodeError, match="audit_encode_value"):
        plain(object())
    assert plain(object(), encode_unknown=lambda value: {"kind": "object"}) == {"kind": "object"}


# From RFC 8785: section 3.2.3 (sorting by UTF-16 code units), 3.2.2 (literals and strings).
def test_keys_are_sorted_by_utf_16_code_units():
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical(dict.fromkeys(keys, 0)))) == ordered


def test_strings_are_written_as_the_standard_says():
    assert canonical("\u20ac$\u000f\nA'\"\\/") == '"\u20ac$\\u000f\\nA\'\\"\\\\/"'
    assert canonical({"a": [1, {"b": None}], "A": True}) == '{"A":true,"a":[1,{"b":null}]}'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(JSON)
def test_a_document_survives_the_journey(value):
    document = {"document": value}
    text = canonical(plain(document, max_bytes=10**9))
    text.encode()  # fit for UTF-8
    assert json.loads(text) == plain(document, max_bytes=10**9)
    assert canonical(json.loads(text)) == text
    if not re.search(r"\\u0000|\\ud[89ab]", json.dumps(value)):  # these are made visible, and stay so
        assert from_plain(json.loads(text)) == document


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text())
def test_safe_text_is_safe_and_stable(text):
    safe = safe_text(text)
    safe.encode()
    assert "\x00" not in safe
    assert safe_text(safe) == safe


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.timedeltas())
def test_durations(value):
    text = format_duration(value)
    assert text.startswith("-P" if value < timedelta() else "P")
    assert "T" in text


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.datetimes(timezones=st.timezones()))
def test_text_order_of_timestamps_is_time_order(moment):
    assert parse_timestamp(format_timestamp(moment)) == moment.astimezone(UTC)


def test_a_naive_time_is_refused():
    with pytest.raises(ValueError, match="aware"):
        format_timestamp(datetime(2026, 1, 1))


TEXT = st.text(max_size=8)
NAMES = st.text(min_size=1, max_size=5) | st.sampled_from(["\ue000", "\U0001f600", 'a"b', "a\\b", "a\nb"])
MAYBE = st.none() | TEXT
REFERENCES = st.lists(st.fixed_dictionaries({"pk": st.integers(0, 9), "repr": MAYBE}), max_size=2)
CHANGES = st.builds(
    Change,
    field=NAMES,
    field_type=MAYBE,
    relation=st.sampled_from(["field", "foreign_key", "many_to_many"]),
    before=JSON.map(lambda value: plain({"document": value})),
    after=st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    added=REFERENCES,
    removed=REFERENCES,
    label=MAYBE,
    display=st.none() | st.dictionaries(st.sampled_from(["before", "after"]), TEXT),
    role=MAYBE,
    position=st.none() | st.integers(0, 3),
    sensitive=st.booleans(),
)
PARTS = {
    part: st.builds(part, **dict.fromkeys(part.__dataclass_fields__, MAYBE))
    for part in (Actor, Context, Target)
}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.builds(
        Event,
        id=st.uuids(),
        occurred_at=st.datetimes(timezones=st.timezones()),
        category=st.sampled_from(Category) | TEXT,
        action=TEXT,
        outcome=st.sampled_from(Outcome) | TEXT,
        actor=st.none() | PARTS[Actor],
        on_behalf_of=st.none() | PARTS[Actor],
        target=st.none() | PARTS[Target],
        related=st.lists(PARTS[Target], max_size=2).map(tuple),
        tenant=MAYBE,
        reason=MAYBE,
        context=PARTS[Context],
        diff=st.dictionaries(NAMES, CHANGES, max_size=4),
        extra=st.dictionaries(NAMES, JSON.map(lambda value: plain({"document": value})), max_size=2),
    )
)
def test_the_text_of_an_event_is_the_canonical_text_of_its_json_form(found):
    assert encode(found) == canonical(found.to_dict())


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff(Actor):
    team: str | None = None


def test_a_part_of_an_applications_own_keeps_what_it_has_more():
    staff = Event(id=ID, occurred_at=NOON, action="view", actor=Staff(id="1", team="claims"))
    assert encode(staff) == canonical(staff.to_dict())
    assert '"team":"claims"' in encode(staff)


def event(**values):
    return Event(id=ID, occurred_at=NOON, **{"action": "update", **values})


def test_an_event_is_equal_to_itself_after_the_journey():
    original = event(
        actor=Actor(id="7", username="alice", repr="Alice"),
        on_behalf_of=Actor(id="8"),
        target=Target(type="policies.Policy", id="1", repr="P-1", kind="policy", kind_plural="policies"),
        related=(Target(type="claims.Claim", id="2"),),
        tenant="northwind",
        reason="four eyes",
        context=Context(ip="10.0.0.1", path="/"),
        diff={"status": Change(field="status", before="a", after="b", display={"after": "B"}, position=3)},
        extra={"ticket": "T-1"},
    )
    assert decode(encode(original)) == original
    recorded = RecordedEvent.of(original, seq=5, summary="Done.")
    assert recorded.leaf_hash == sha256(b"\x00" + recorded.text.encode()).digest() == leaf_hash(recorded.text)
    data = recorded.to_dict()
    assert (data["seq"], data["summary"]) == (5, "Done.")
    assert data["changes"] == data["diff"]


def test_what_is_empty_is_left_out():
    assert json.loads(encode(event())).keys() == {
        "id",
        "occurred_at",
        "category",
        "action",
        "outcome",
        "schema_version",
    }


def test_an_event_that_is_not_plain_is_refused():
    with pytest.raises(EncodeError, match="plain"):
        encode(event(extra={"when": NOON}))


def test_a_newer_event_is_read_as_far_as_it_is_known():
    data = json.loads(make_event().text)
    data["schema_version"] = 99
    data["mood"] = "good"
    data["actor"]["mood"] = "good"
    assert decode(canonical(data)).schema_version == 99


def test_an_older_event_is_brought_up_step_by_step(monkeypatch):
    monkeypatch.setattr(codec, "SCHEMA_VERSION", 3)
    monkeypatch.setitem(codec.UPCASTERS, 1, lambda data: {**data, "action": data.pop("verb")})
    monkeypatch.setitem(codec.UPCASTERS, 2, lambda data: {**data, "outcome": data["outcome"].lower()})
    data = {
        "id": str(ID),
        "occurred_at": format_timestamp(NOON),
        "verb": "update",
        "outcome": "SUCCESS",
        "schema_version": 1,
    }
    upcast = decode(canonical(data))
    assert (upcast.action, upcast.outcome) == ("update", "success")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", "null", "{}", '{"id": 1}', '{"schema_version": "x"}', '{"id": "x"}']
)
def test_what_is_no_event_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        decode(text)
