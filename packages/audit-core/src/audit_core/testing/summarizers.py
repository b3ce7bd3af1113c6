"""The contract of :class:`~audit_core.summarizers.contract.Summarizer` as tests."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from audit_core.diff import FOREIGN_KEY, MANY_TO_MANY, Change
from audit_core.event import Actor, Context, Event, Outcome, Target
from audit_core.summarizers.contract import MAX_SUMMARY_CHARACTERS, Summarizer
from audit_core.testing.events import make_event
from audit_core.testing.sealing import sealed

POLICY = Target(type="policies.Policy", id="7", repr="P-1007", kind="policy", kind_plural="policies")
POLICIES = Target(type="policies.Policy", kind="policy", kind_plural="policies")
CUSTOMER = Target(type="crm.Customer", id="3", repr="Jane Doe", kind="customer", kind_plural="customers")
STATUS = Change(
    field="status",
    field_type="CharField",
    before="pending",
    after="approved",
    display={"before": "Pending", "after": "Approved"},
    position=2,
)
OWNER = Change(
    field="owner",
    field_type="ForeignKey",
    relation=FOREIGN_KEY,
    before={"pk": 9, "repr": "Bob"},
    after={"pk": 11, "repr": "Carol"},
    position=3,
)
PREMIUM = Change(field="premium", field_type="DecimalField", before="1200.00", after="1350.50", position=4)
TAGS = Change(field="tags", relation=MANY_TO_MANY, added=[{"pk": 1, "repr": "Critical"}], position=5)
HOSTILE = "Line one\r\n\t line  two\u2028<script>alert(1)</script> {{ 7 * 7 }}\x1b[31m \u202eabc 🦊"
PLAIN_SSN = "123-45-6789"


def event_of(
    *changes: Change, action: str = "update", target: Target | None = POLICY, **values: Any
) -> Event:
    """An event with these changes."""
    return make_event(
        action, target=target, diff={change.field: change for change in changes}, **values
    ).event


def sample_events() -> dict[str, Event]:
    """One event of each sort that a trail has, by a name for it."""
    before, after = (sealed(value) for value in (PLAIN_SSN, "987-65-4321"))
    command = Actor(type="command", id="renew_policies", repr="renew_policies")
    json_sides = {"deductible": 500, "glass": False}, {"deductible": 300, "glass": True}
    return {
        "update": event_of(STATUS, OWNER, TAGS),
        "money": event_of(PREMIUM),
        "empty to value": event_of(Change(field="valid_until", field_type="DateField", after="2026-12-31")),
        "value to empty": event_of(Change(field="phone", field_type="CharField", before="0171 1", after="")),
        "boolean": event_of(Change(field="is_active", field_type="BooleanField", before=True, after=False)),
        "sensitive": event_of(
            Change(field="ssn", before=before, after=after, sensitive=True), target=CUSTOMER
        ),
        "json": event_of(
            Change(field="coverage", field_type="JSONField", before=json_sides[0], after=json_sides[1])
        ),
        "long text": event_of(
            Change(field="note", field_type="TextField", before="x" * 5000, after="y " * 4000)
        ),
        "digest": event_of(Change(field="note", before=None, after={"sha256": "0" * 64, "length": 70_000})),
        "many fields": event_of(
            STATUS, *(Change(field=f"note_{n}", before="a", after="b", position=n + 9) for n in range(59))
        ),
        "create": event_of(STATUS._replace(before=None), OWNER._replace(before=None), action="create"),
        "delete": event_of(
            action="delete",
            extra={"deleted_with": [{"kind": "document", "kind_plural": "documents", "count": 3}]},
        ),
        "view": event_of(action="view", category="access"),
        "login": event_of(action="login", category="auth", target=None, context=Context(ip="203.0.113.9")),
        "login failed": event_of(
            action="login_failed",
            category="auth",
            outcome=Outcome.FAILURE,
            actor=None,
            target=None,
            extra={"username": "alice"},
        ),
        "export": event_of(
            action="export", category="export", target=POLICIES, extra={"count": 1200, "format": "CSV"}
        ),
        "many rows": event_of(STATUS, target=POLICIES, actor=command, extra={"count": 830}),
        "failure": event_of(
            action="delete", outcome=Outcome.FAILURE, extra={"error": "protected by 3 documents"}
        ),
        "reason": event_of(STATUS, reason="customer's letter of 3 March."),
        "capture disabled": event_of(
            action="capture_disabled", category="system", target=None, extra={"seconds": 12.5, "skipped": 40}
        ),
        "events lost": event_of(
            action="events_lost",
            category="system",
            target=None,
            extra={"lost": {"policies.Policy": 3}, "count": 3},
        ),
        "custom": event_of(action="sent_reminder", category="custom", actor=None),
        "nothing known": event_of(action="x", actor=None, target=None),
        "hostile": event_of(
            Change(field="name", field_type="CharField", label=HOSTILE, before=HOSTILE, after=HOSTILE[::-1]),
            actor=Actor(repr=HOSTILE),
            target=replace(POLICY, repr=HOSTILE),
            reason=HOSTILE * 20,
        ),
    }


class SummarizerContract:
    """Subclass it and give the fixture ``summarizer``.

    Every test runs for each of :attr:`languages`. A summarizer whose words cannot be foreseen (a model) also
    passes: what is tested is what every sentence must be, and which labels and figures must be in it.
    """

    languages: ClassVar[Sequence[str]] = ("en",)
    """The languages that the summarizer is said to know, as BCP 47 tags."""

    full_stops: ClassVar[str] = ".。।۔።"
    """What may end a sentence."""

    hidden: ClassVar[Mapping[str, str]] = {"en": "hidden"}
    """By language, the word by which a masked value is said; it is looked for where it is known."""

    @pytest.fixture
    def summarizer(self) -> Any:
        """Override: the summarizer to test."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture `summarizer` that returns a summarizer."
        )

    def say(self, summarizer: Any, event: Event, language: str) -> str:
        """The sentence for one event."""
        [sentence] = summarizer.summarize([event], language)
        assert isinstance(sentence, str)
        return sentence

    def test_it_is_a_summarizer(self, summarizer: Any) -> None:
        assert isinstance(summarizer, Summarizer)

    def test_a_good_summarizer_has_no_problems(self, summarizer: Any) -> None:
        if not hasattr(summarizer, "check"):
            pytest.skip("this summarizer has no check()")
        assert list(summarizer.check()) == []

    def test_no_events_make_no_sentences(self, summarizer: Any) -> None:
        assert list(summarizer.summarize([], "en")) == []

    def test_as_many_sentences_as_events_in_their_order(self, summarizer: Any) -> None:
        labels = [f"P-{n}" for n in range(1000, 1060)]
        events = [event_of(PREMIUM, target=replace(POLICY, id=label, repr=label)) for label in labels]
        for language in self.languages:
            sentences = list(summarizer.summarize(events, language))
            assert len(sentences) == len(events)
            for label, sentence in zip(labels, sentences, strict=True):
                assert label in sentence

    @pytest.mark.parametrize("sort", sorted(sample_events()))
    def test_a_sentence_is_one_line_of_plain_text(self, summarizer: Any, sort: str) -> None:
        event = sample_events()[sort]
        for language in self.languages:
            sentence = self.say(summarizer, event, language)
            assert 1 < len(sentence) <= MAX_SUMMARY_CHARACTERS, sentence
            assert sentence == " ".join(sentence.split()), f"white space in {sentence!r}"
            strange = [c for c in sentence if unicodedata.category(c) in ("Cc", "Cs") or c == "\u202e"]
            assert not strange, f"control characters in {sentence!r}"
            assert sentence[-1] in self.full_stops, f"no full stop at the end of {sentence!r}"
            assert sentence[-2] not in self.full_stops, f"two full stops at the end of {sentence!r}"

    @pytest.mark.parametrize("sort", sorted(set(sample_events()) - {"hostile"}))
    def test_a_sentence_is_not_made_of_what_only_machines_read(self, summarizer: Any, sort: str) -> None:
        event = sample_events()[sort]
        machine_words = [
            "None",
            "null",
            "{",
            "}",
            "policies.Policy",
            "crm.Customer",
            "login_failed",
            "sha256",
        ]
        machine_words += [name for name in event.diff if "_" in name]
        for language in self.languages:
            sentence = self.say(summarizer, event, language)
            assert not [word for word in machine_words if word in sentence], sentence

    def test_who_what_and_the_values_are_named(self, summarizer: Any) -> None:
        for language in self.languages:
            sentence = self.say(summarizer, event_of(STATUS, OWNER, TAGS), language)
            for word in ("Alice", "P-1007", "Pending", "Approved", "Bob", "Carol", "Critical"):
                assert word in sentence

    def test_the_old_value_comes_before_the_new(self, summarizer: Any) -> None:
        for language in self.languages:
            sentence = self.say(summarizer, event_of(STATUS), language)
            assert 0 <= sentence.index("Pending") < sentence.index("Approved")

    def test_choices_are_said_by_their_display_text(self, summarizer: Any) -> None:
        shown = {"before": "Waiting for papers", "after": "In force"}
        for language in self.languages:
            sentence = self.say(summarizer, event_of(STATUS._replace(display=shown)), language)
            assert shown["before"] in sentence
            assert shown["after"] in sentence

    def test_money_keeps_its_places(self, summarizer: Any) -> None:
        for language in self.languages:
            sentence = self.say(summarizer, event_of(PREMIUM), language)
            digits = "".join(c for c in sentence if c.isdigit())
            assert "120000" in digits
            assert "135050" in digits
        assert "1,350.50" in self.say(summarizer, event_of(PREMIUM), "en")

    def test_what_is_masked_is_said_and_never_shown(self, summarizer: Any) -> None:
        event = sample_events()["sensitive"]
        mac = event.diff["ssn"].before["sealed"]["mac"]
        for language in self.languages:
            sentence = self.say(summarizer, event, language)
            assert "Jane Doe" in sentence
            for part in (PLAIN_SSN, mac, "mac", "sealed"):
                assert part not in sentence
            if language in self.hidden:
                assert self.hidden[language] in sentence

    def test_what_is_masked_is_not_shown_beside_what_is_not(self, summarizer: Any) -> None:
        ssn = sample_events()["sensitive"].diff["ssn"]
        # A display text for a sealed value is a mistake of the capture; it must not get out here.
        event = event_of(STATUS, ssn._replace(display={"before": PLAIN_SSN, "after": PLAIN_SSN}))
        for language in self.languages:
            assert PLAIN_SSN not in self.say(summarizer, event, language)

    def test_a_sealed_actor_and_a_sealed_label_do_not_appear(self, summarizer: Any) -> None:
        name = sealed("Jane Doe")
        data = event_of(STATUS).to_dict()
        data["actor"] = {"id": "7", "repr": name}
        data["target"] = {**data["target"], "repr": name}
        for language in self.languages:
            sentence = self.say(summarizer, Event.from_dict(data), language)
            assert name["sealed"]["mac"] not in sentence
            assert "sealed" not in sentence
            assert "Approved" in sentence

    def test_what_is_left_out_is_counted(self, summarizer: Any) -> None:
        event = event_of(
            STATUS, OWNER, PREMIUM, *(Change(field=f"note_{n}", before="a", after="b") for n in range(9))
        )
        for language in self.languages:
            sentence = self.say(summarizer, event, language)
            assert "Approved" in sentence
            assert "9" in sentence.replace("P-1007", "")

    def test_a_failure_is_told_with_its_cause(self, summarizer: Any) -> None:
        event = sample_events()["failure"]
        done = event_of(action="delete")
        for language in self.languages:
            sentence = self.say(summarizer, event, language)
            assert "P-1007" in sentence
            assert "3" in sentence
            assert not sentence.startswith(self.say(summarizer, done, language).rstrip(self.full_stops))

    def test_the_reason_ends_the_sentence(self, summarizer: Any) -> None:
        for language in self.languages:
            sentence = self.say(summarizer, event_of(STATUS, reason="letter T-17."), language)
            assert sentence.rstrip(self.full_stops).endswith("letter T-17")

    def test_counts_of_many_rows_are_said(self, summarizer: Any) -> None:
        for language in self.languages:
            assert "830" in self.say(summarizer, sample_events()["many rows"], language)
        assert "830 policies" in self.say(summarizer, sample_events()["many rows"], "en")

    @pytest.mark.parametrize("language", ["tlh", "zz-Latn-QQ", "", "not a tag"])
    def test_an_unknown_language_is_answered_in_english(self, summarizer: Any, language: str) -> None:
        sentence = self.say(summarizer, event_of(STATUS), language)
        assert "Alice" in sentence
        assert " from Pending to Approved" in sentence

    def test_one_strange_event_does_not_spoil_a_batch(self, summarizer: Any) -> None:
        samples = sample_events()
        events = [samples["money"], samples["hostile"], samples["nothing known"], samples["money"]]
        sentences = list(summarizer.summarize(events, self.languages[0]))
        assert len(sentences) == 4
        assert "P-1007" in sentences[0]
        assert "P-1007" in sentences[3]
