"""What is kept of an event, and by which words it is found."""

import dataclasses
from datetime import UTC, datetime

import pytest

from audit_core.diff import FOREIGN_KEY, MANY_TO_MANY, Change
from audit_core.event import Actor, Context, RecordedEvent, Target
from audit_core.testing import make_event
from audit_core.words import words_of as core_words
from audit_storage_opensearch.documents import document, key, microseconds, recorded_of
from audit_storage_opensearch.indices import FIELDS

MANY = make_event(
    "approve",
    actor=Actor(id="7", username="alice", email="alice@example.com", repr="Alice Müller"),
    target=Target(type="policies.Policy", id="P-1", repr="İstanbul's policy", kind="policy"),
    related=[Target(type="b.B", id="2", repr="Bee Line")],
    reason="customer's letter",
    summary="Alice approved it at last.",
    diff={
        "owner": Change(
            field="owner", relation=FOREIGN_KEY, label="Owner", before={"pk": 7, "repr": "Carol"}, after=None
        ),
        "tags": Change(
            field="tags", relation=MANY_TO_MANY, added=[{"pk": n, "repr": f"Critical{n}"} for n in range(30)]
        ),
        "amount": Change(field="amount", before=10, after="12.50"),
        "rate": Change(field="rate", before=0.25, after=True),
        "document": Change(
            field="document", before={"a": ["deep", {"b": "deeper"}]}, after={"sha256": "beef"}
        ),
        "status": Change(field="status", before="a", after="b", display={"a": "Draft", "b": "Final"}),
        "ssn": Change(
            field="ssn", before=None, after={"sealed": {"mac": "1f2e:dead"}}, sensitive=True, label="SSN"
        ),
        "note": Change(field="note", before=None, after="word " * 99 + "beyond " * 20),
    },
    context=Context(
        ip="10.0.0.1", path="/policies/42/", user_agent="Firefox/130", request_id="req-77", source="request"
    ),
    tenant="acme",
    seq=5,
)


def words_of(event):
    return document(event)["words"]


def test_the_words_are_those_of_every_storage_and_of_the_context():
    context = ["policies", "42", "firefox", "130", "req", "77", "request"]
    assert words_of(MANY).split() == core_words(MANY) + context


def test_a_document_has_no_field_that_the_mapping_has_not():
    assert document(MANY).keys() == FIELDS.keys()


def test_an_event_of_another_version_is_read_as_this_one():
    other = dataclasses.replace(MANY.event, schema_version=2)
    kept = document(RecordedEvent.of(other, seq=MANY.seq, summary=MANY.summary))
    expected = document(MANY)
    assert kept["text"] != expected["text"]
    for made in (kept, expected):  # in another order: that of the fields, or of their names
        made |= {"text": None, "fields": sorted(made["fields"]), "words": sorted(made["words"].split())}
    assert kept == expected


def test_what_an_event_has_not_is_left_out():
    bare = make_event("login_failed", target=None, actor=None, diff={})
    assert document(bare).keys() == {
        "id", "occurred_us", "occurred_at", "category", "action", "outcome", "words", "text",
    }  # fmt: skip


def test_an_event_comes_back_as_it_was():
    back = recorded_of({"_id": str(MANY.id), "_source": document(MANY)})
    assert (back, back.event.to_dict()) == (MANY, MANY.event.to_dict())


@pytest.mark.parametrize("year", [1, 1900, 1969, 2026, 9999])
def test_no_time_loses_a_microsecond(year):
    moment = datetime(year, 3, 3, 9, 0, 0, 1, tzinfo=UTC)
    assert microseconds(moment) - microseconds(moment.replace(microsecond=0)) == 1


def test_a_long_key_stays_unique_and_fits_a_term():
    one, other = key("é" * 40_000), key("é" * 39_999 + "e")
    assert one != other
    assert len(one.encode()) < 32_766
    assert key("short") == "short"
    assert key("a\x00\ud800").isascii()
