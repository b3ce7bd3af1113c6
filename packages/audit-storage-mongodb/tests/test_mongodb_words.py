"""An event is found by the same words as in the application's own database."""

from __future__ import annotations

import pytest

from audit_core.diff import FOREIGN_KEY, MANY_TO_MANY, Change
from audit_core.event import Actor, Context, Target
from audit_core.testing import make_event
from audit_storage_mongodb.words import words_of

EVENTS = {
    "plain": make_event(summary="Alice approved policy P-1."),
    "nobody": make_event("login_failed", target=None, actor=None, diff={}),
    "reason": make_event(reason="O'Brien & Söhne: 50%", context=Context(ip="10.1.2.3")),
    "actor": make_event(actor=Actor(id="1", username="bob_b", email="bob@example.com", repr="Bob B.")),
    "related": make_event(related=[Target(type="b.B", id="2", repr="Bee"), Target(type="c.C")]),
    "sealed": make_event(
        diff={"ssn": Change(field="ssn", before=None, after={"sealed": {"mac": "1f:aa"}}, sensitive=True)}
    ),
    "values": make_event(
        diff={
            "text": Change(field="text", before="hello_world", after="x" * 700, label="Remark"),
            "number": Change(field="number", before=-1.5, after=12345, display={"after": "twelve"}),
            "flag": Change(field="flag", before=True, after=None),
            "bytes": Change(field="bytes", before={"base64": "QUJD"}, after={"sha256": "ab", "length": 3}),
            "document": Change(
                field="document", before={"a": ["b", {"c": "d"}]}, after=[str(n) for n in range(30)]
            ),
            "owner": Change(
                field="owner", relation=FOREIGN_KEY, before={"pk": 7, "repr": "Carol"}, after=None
            ),
            "tags": Change(field="tags", relation=MANY_TO_MANY, added=[{"pk": 1, "repr": "Urgent"}]),
        }
    ),
    "many": make_event(diff={f"f{n}": (None, f"word{n} straße") for n in range(2000)}),
}


@pytest.mark.parametrize("name", EVENTS)
def test_the_words_are_those_of_the_database_storage(name):
    search_words = pytest.importorskip("audit_django.search_words").search_words
    # Its index also holds a token for each field and mask, which begin with zf and zm: here fields have their own.
    expected = [word for word in search_words(EVENTS[name]).split() if not word.startswith(("zf", "zm"))]
    assert words_of(EVENTS[name]) == expected


def test_words_end_somewhere():
    assert sum(map(len, words_of(EVENTS["many"]))) < 8000
