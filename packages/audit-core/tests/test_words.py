"""The words by which an event is found."""

from audit_core.diff import Change
from audit_core.event import Actor, Context
from audit_core.testing import make_event
from audit_core.words import MAX_CHARACTERS, MAX_ITEMS, MOST_WORDS, words_in, words_of


def of(*changes, **values):
    return words_of(make_event(diff={change.field: change for change in changes}, **values))


def test_they_are_labels_values_and_circumstances():
    found = of(
        Change(field="first_name", before="Jane", after="Ünï-Cödé", label="Given name"),
        Change(field="document", after={"a": ["deep", {"b": 7}]}),
        Change(field="status", before="a", display={"after": "Approved"}),
        actor=Actor(username="alice", repr="Alice A.", email="alice@example.com"),
        reason="four eyes",
        context=Context(ip="203.0.113.9", path="/secret/"),
        summary="A sentence.",
    )
    wanted = "update alice a example com p 1 policy four eyes 203 0 113 9 given name jane ünï cödé document deep 7 status"
    assert set(wanted.split()) <= set(found)
    assert {"approved", "sentence"} <= set(found)
    assert not {"secret", "Jane", "first"} & set(found)
    assert len(found) == len(set(found))


def test_sealed_values_have_none():
    sealed = {"sealed": {"mac": "1f:aa", "ct": "Y2lwaGVy"}}
    found = of(
        Change(field="ssn", before="078-05-1120", after=sealed, sensitive=True, display={"before": "shown"}),
        Change(field="owner", relation="foreign_key", after={"pk": 7, "repr": sealed}),
        Change(field="photo", after={"base64": "Zm94"}),
        Change(field="notes", after={"sha256": "abc123", "length": 70000}),
    )
    assert not {"078", "1120", "1f", "aa", "y2lwagvy", "shown", "zm94", "abc123", "none"} & set(found)
    assert {"ssn", "owner", "photo", "notes"} <= set(found)


def test_there_is_an_end_to_them():
    many = [f"word{n}" for n in range(5000)]
    found = of(*[Change(field=f"f{n}", after=" ".join(many[n * 50 : n * 50 + 50])) for n in range(100)])
    assert MAX_CHARACTERS - 20 < len(" ".join(found)) <= MAX_CHARACTERS
    assert len(of(Change(field="list", after=[f"item{n}" for n in range(99)]))) < MAX_ITEMS + 12
    assert len(words_in(" ".join(many))) == MOST_WORDS


def test_the_words_of_a_search():
    assert words_in("Jane-Doe, P_1007!") == ["jane", "doe", "p", "1007"]
    assert words_in(" - ") == []
