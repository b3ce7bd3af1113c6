"""Whatever an event holds, its sentence is one line that people can read."""

from __future__ import annotations

import string
from datetime import UTC, datetime
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from audit_core.codec import decode, encode
from audit_core.diff import FIELD, FOREIGN_KEY, MANY_TO_MANY, Change
from audit_core.event import Actor, Context, Event, Target
from audit_core.ids import uuid7
from audit_core.summarizers import MAX_SUMMARY_CHARACTERS, sentence
from audit_core.testing.sealing import sealed

NOW = datetime(2026, 3, 3, 14, 5, tzinfo=UTC)

# No braces and no N, so that any brace and any "None" in a sentence was written by the summarizer.
texts = st.text(st.characters(codec="utf-8", exclude_characters="{}N"), max_size=80) | st.text(
    "ab .,!?…\n\t", max_size=300
)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=12,
)
numbers = st.decimals(allow_nan=False, places=2).map(str)
moments = st.datetimes().map(lambda moment: moment.isoformat()) | st.datetimes().map(
    lambda m: f"{m.isoformat()}Z"
)
sized = st.builds(lambda n: {"sha256": "0" * 64, "length": n}, st.integers(0, 10**9)) | st.just(
    {"base64": "QUI="}
)
seals = st.text(max_size=20).map(sealed)
references = st.fixed_dictionaries({"pk": st.integers() | texts, "repr": texts | seals})
values = json | numbers | moments | sized | seals | references
types = st.none() | st.sampled_from(
    [
        "CharField",
        "TextField",
        "BooleanField",
        "IntegerField",
        "FloatField",
        "DecimalField",
        "DateField",
        "DateTimeField",
        "TimeField",
        "DurationField",
        "FileField",
        "JSONField",
        "BinaryField",
        "UUIDField",
        "ForeignKey",
        "AutoField",
        "ArrayField",
        "Numeric",
    ]
)
names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=20)
changes = st.builds(
    Change,
    field=names,
    field_type=types,
    relation=st.sampled_from([FIELD, FIELD, FOREIGN_KEY, MANY_TO_MANY]),
    before=values,
    after=values,
    added=st.lists(references, max_size=6),
    removed=st.lists(references, max_size=6),
    label=st.none() | texts,
    display=st.none() | st.dictionaries(st.sampled_from(["before", "after"]), texts),
    role=st.sampled_from([None, None, "owner", "automatic", "switch"]),
    position=st.none() | st.integers(0, 99),
    sensitive=st.booleans(),
)
actors = st.builds(
    Actor,
    id=st.none() | texts,
    type=st.sampled_from(["user", "anonymous", "system", "command", "task", "service", "kiosk"]) | texts,
    username=st.none() | texts,
    repr=st.none() | texts,
)
targets = st.builds(
    Target,
    type=texts | st.just("policies.RiskClass"),
    id=st.none() | texts,
    repr=st.none() | texts,
    kind=st.none() | texts,
    kind_plural=st.none() | texts,
)
extras = st.fixed_dictionaries(
    {},
    optional={
        "count": st.integers() | json,
        "format": texts | json,
        "error": texts | json,
        "username": texts | json,
        "seconds": st.floats() | json,
        "skipped": st.integers() | json,
        "deleted_with": st.lists(st.fixed_dictionaries({"kind": texts, "count": st.integers() | json}))
        | json,
    },
)
actions = texts | st.sampled_from(
    [
        "create",
        "update",
        "delete",
        "view",
        "login",
        "logout",
        "login_failed",
        "export",
        "capture_disabled",
        "approved",
        "sent_reminder",
    ]
)
events = st.builds(
    Event,
    id=st.just(uuid7()),
    occurred_at=st.just(NOW),
    action=actions,
    outcome=st.sampled_from(["success", "failure"]),
    actor=st.none() | actors,
    on_behalf_of=st.none() | actors,
    target=st.none() | targets,
    reason=st.none() | texts,
    context=st.builds(Context, ip=st.none() | texts),
    diff=st.lists(changes, max_size=6).map(lambda made: {change.field: change for change in made}),
    extra=extras,
)


def assert_readable(words: str) -> None:
    assert 1 < len(words) <= MAX_SUMMARY_CHARACTERS
    assert words == " ".join(words.split())
    assert words.endswith(".")
    assert not words.endswith("..")
    assert "None" not in words
    assert "{" not in words
    assert "sealed" not in words
    assert "mac" not in words.split()
    words.encode()


def macs(value: Any) -> set[str]:
    """Every mask in a value."""
    if isinstance(value, dict):
        found = set().union(*map(macs, value.values()))
        mac = value.get("mac")
        return found | {mac} if isinstance(mac, str) and len(mac) > 60 else found
    return set().union(*map(macs, value)) if isinstance(value, list) else set()


@settings(max_examples=400, deadline=None)
@given(events)
@example(
    Event(
        id=uuid7(),
        occurred_at=NOW,
        action="update",
        diff={"a": Change(field="a", before="\u2028", after=".")},
    )
)
def test_any_event_has_a_readable_sentence(event: Event) -> None:
    words = sentence(event)
    assert_readable(words)
    assert sentence(event) == words
    for mac in macs(event.to_dict()):
        assert mac not in words


@settings(max_examples=200, deadline=None)
@given(events.filter(lambda event: "nan" not in str(event.to_dict()) and "inf" not in str(event.to_dict())))
def test_the_sentence_is_the_same_after_the_journey(event: Event) -> None:
    # Entries of documents come back in canonical order, and that is the order in which they are then told.
    there = decode(encode(event))
    assert sentence(there) == sentence(decode(encode(there)))
    assert_readable(sentence(there))


untyped = st.fixed_dictionaries(
    {"action": json, "target": st.none() | st.fixed_dictionaries({"type": json, "repr": json, "kind": json})},
    optional={
        "outcome": json,
        "actor": st.fixed_dictionaries({"type": json, "repr": json, "id": json}),
        "reason": json,
        "context": st.fixed_dictionaries({"ip": json}),
        "extra": json,
        "diff": st.dictionaries(
            names,
            st.fixed_dictionaries(
                {"field": json},
                optional={
                    "field_type": json,
                    "relation": json | st.just(MANY_TO_MANY),
                    "before": json,
                    "after": json,
                    "added": json,
                    "removed": json,
                    "label": json,
                    "display": json,
                    "role": json,
                    "position": json,
                    "sensitive": json,
                },
            ),
            max_size=4,
        ),
    },
)


@settings(max_examples=400, deadline=None)
@given(untyped)
def test_an_event_that_another_program_wrote_has_one_too(data: dict[str, Any]) -> None:
    """Decoding does not look at types, so neither may the summarizer rely on them."""
    stamped = {"id": str(uuid7()), "occurred_at": "2026-03-03T14:05:00.000000Z", **data}
    words = sentence(Event.from_dict(stamped))
    assert_readable(words)
