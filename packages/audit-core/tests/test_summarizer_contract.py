"""The grammar summarizer keeps the contract, and the contract catches summarizers that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from audit_core.errors import ConfigurationError
from audit_core.event import Event
from audit_core.summarizers import GrammarSummarizer, sentence
from audit_core.testing import SummarizerContract


class TestGrammarSummarizer(SummarizerContract):
    @pytest.fixture
    def summarizer(self) -> Any:
        return GrammarSummarizer()


class Mutant:
    """A summarizer with one thing wrong."""

    def __init__(self, wrong: Callable[[str, Event], str]) -> None:
        self._wrong = wrong

    def summarize(self, events: Sequence[Event], language: str) -> Sequence[str]:
        return [self._wrong(sentence(event), event) for event in events]


class Reversed(Mutant):
    def summarize(self, events: Sequence[Event], language: str) -> Sequence[str]:
        return super().summarize(events, language)[::-1]


class Forgetful(Mutant):
    def summarize(self, events: Sequence[Event], language: str) -> Sequence[str]:
        return super().summarize(events, language)[:50]


def leak(words: str, event: Event) -> str:
    return f"{words[:-1]} ({event.diff['ssn'].before['sealed']['mac']})." if "ssn" in event.diff else words


LINE = "test_a_sentence_is_one_line_of_plain_text"
MUTANTS: list[tuple[Any, str, dict[str, Any]]] = [
    (Reversed(lambda words, _: words), "test_as_many_sentences_as_events_in_their_order", {}),
    (Forgetful(lambda words, _: words), "test_as_many_sentences_as_events_in_their_order", {}),
    (Mutant(lambda words, _: words + "."), LINE, {"sort": "update"}),
    (Mutant(lambda words, _: words[:-1]), LINE, {"sort": "update"}),
    (Mutant(lambda words, _: words.replace(" ", "\n", 1)), LINE, {"sort": "update"}),
    (Mutant(lambda words, _: words.replace(" ", "  ", 1)), LINE, {"sort": "update"}),
    (Mutant(lambda words, _: words[:-1] + "!" * 240 + "."), LINE, {"sort": "update"}),
    (Mutant(lambda words, event: f"{event.target}."), LINE, {"sort": "hostile"}),
    (
        Mutant(lambda words, event: f"{event.to_dict()}."),
        "test_a_sentence_is_not_made_of_what_only_machines_read",
        {"sort": "json"},
    ),
    (Mutant(lambda words, _: "Something happened."), "test_who_what_and_the_values_are_named", {}),
    (
        Mutant(lambda words, _: "The status is Approved, no longer Pending."),
        "test_the_old_value_comes_before_the_new",
        {},
    ),
    (
        Mutant(lambda words, event: words if len(event.diff) < 4 else "Alice changed it to Approved."),
        "test_what_is_left_out_is_counted",
        {},
    ),
    (Mutant(leak), "test_what_is_masked_is_said_and_never_shown", {}),
    (
        Mutant(lambda words, event: f"{words[:-1]} {[dict(c.display or {}) for c in event.diff.values()]}."),
        "test_what_is_masked_is_not_shown_beside_what_is_not",
        {},
    ),
    (
        Mutant(lambda words, event: f"{words[:-1]} by {event.actor}." if event.actor else words),
        "test_a_sealed_actor_and_a_sealed_label_do_not_appear",
        {},
    ),
    (Mutant(lambda words, _: words.replace("350.50", "350.5")), "test_money_keeps_its_places", {}),
    (Mutant(lambda words, _: "Alice deleted policy P-1007."), "test_a_failure_is_told_with_its_cause", {}),
    (Mutant(lambda words, _: words.partition(" — ")[0] + "."), "test_the_reason_ends_the_sentence", {}),
    (Mutant(lambda words, _: words.replace("830", "many")), "test_counts_of_many_rows_are_said", {}),
    (
        Mutant(lambda words, _: "Alice änderte den Status."),
        "test_an_unknown_language_is_answered_in_english",
        {"language": "tlh"},
    ),
]


@pytest.mark.parametrize(("mutant", "test", "arguments"), MUTANTS)
def test_the_contract_can_fail(mutant: Any, test: str, arguments: dict[str, Any]) -> None:
    getattr(SummarizerContract(), test)(GrammarSummarizer(), **arguments)
    with pytest.raises(AssertionError):
        getattr(SummarizerContract(), test)(mutant, **arguments)


def test_an_unknown_zone_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="does not know the time zone 'Mars/Olympus'"):
        GrammarSummarizer(time_zone="Mars/Olympus")
