"""Sentences are written before the sinks are served, and no provider can hold the trail up."""

import threading

import pytest

from audit_core.errors import RetryableError
from audit_core.log import SUMMARIES
from audit_core.memory import MemoryDatabase
from audit_core.relay import Relay, RelaySettings
from audit_core.storages.memory import MemoryStorage
from audit_core.testing import VirtualClock, make_events


class Provider:
    """A summarizer with a mind of its own."""

    def __init__(self, answer=lambda events: [f"Sentence {n}." for n, _ in enumerate(events, start=1)]):
        self.answer = answer
        self.calls = 0

    def summarize(self, events, language):
        self.calls += 1
        return self.answer(events)


class Plain:
    """A fallback that can be told from the provider."""

    def summarize(self, events, language):
        return [f"{language}: {event.action}" for event in events]


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def make(clock):
    """A relay with this provider, its log filled with events, and the sink it delivers to."""

    def make(provider, *, fallback=None, count=3, **settings):
        database = MemoryDatabase(clock)
        sink = MemoryStorage()
        relay = Relay(
            database.log,
            {"sink": sink},
            summarizer=provider,
            fallback=fallback or Plain(),
            language="en",
            settings=RelaySettings(**settings),
            monotonic=clock.monotonic,
            random=lambda: 1.0,
        )
        database.outbox.append(make_events(count))
        return database, relay, sink

    return make


def sentences(sink):
    return [event.summary for event in sink.events]


def test_the_provider_writes(make):
    _, relay, sink = make(Provider())
    relay.run_once()
    assert sentences(sink) == ["Sentence 1.", "Sentence 2.", "Sentence 3."]


@pytest.mark.parametrize(
    "answer",
    [
        lambda events: [],
        lambda events: ["only one"],
        lambda events: None,
        lambda events: ["one"] * (len(events) + 1),
        lambda events: ["", "  ", "x" * 241],
        lambda events: [None, 3, b"bytes"],
        lambda events: 1 / 0,
    ],
    ids=["none", "too few", "no list", "too many", "unusable", "no text", "error"],
)
def test_what_the_provider_does_not_write_the_fallback_does(make, answer):
    _, relay, sink = make(Provider(answer))
    relay.run_once()
    assert sentences(sink) == ["en: update"] * 3


def test_the_fallback_fills_single_gaps(make):
    _, relay, sink = make(Provider(lambda events: ["Good.", "", "Good too."]))
    relay.run_once()
    assert sentences(sink) == ["Good.", "en: update", "Good too."]


def test_a_provider_that_never_answers_is_left_behind(make):
    answered = threading.Event()
    provider = Provider(lambda events: answered.wait(30) and [])
    _, relay, sink = make(provider, count=9, batch_size=3, summary_budget_seconds=0.05)
    relay.run_once()  # three batches, one wait
    assert sentences(sink) == ["en: update"] * 9
    assert provider.calls == 1
    answered.set()


def test_a_provider_that_is_out_of_order_is_asked_less_and_less(make, clock):
    def down(events):
        raise RetryableError("503")

    provider = Provider(down)
    database, relay, sink = make(provider)
    asked_at = []
    for _ in range(40):
        database.outbox.append(make_events(1))
        calls = provider.calls
        relay.run_once()
        if provider.calls > calls:
            asked_at.append(clock.monotonic())
        clock.advance(0.5)
    assert asked_at == [0, 0.5, 1.5, 3.5, 7.5, 15.5]
    assert len(sink) == 43


def test_a_provider_that_is_back_is_asked_again(make, clock):
    provider = Provider()
    good, provider.answer = provider.answer, lambda events: 1 / 0
    database, relay, sink = make(provider, count=1)
    relay.run_once()
    provider.answer = good
    clock.advance(0.5)
    database.outbox.append(make_events(1))
    relay.run_once()
    assert sentences(sink) == ["en: update", "Sentence 1."]


def test_an_event_that_even_the_fallback_fails_on_goes_without(make):
    class Picky:
        def summarize(self, events, language):
            if events[0].diff["premium"].before == 1:
                raise RuntimeError("no idea")
            return ["fine"]

    database, relay, sink = make(None, fallback=Picky())
    relay.run_once()
    assert sentences(sink) == ["fine", None, "fine"]
    assert database.log.cursor(SUMMARIES).seq == 3


def test_what_has_a_sentence_is_not_written_again(make):
    provider = Provider()
    database, relay, sink = make(provider, count=2)
    relay.run_once(only=["log"])
    lease = database.log.acquire(SUMMARIES, "a worker that died", 4)
    database.log.save_summaries(lease, {database.log.read(0, 1)[0].id: "From before."})
    database.log.release(lease)
    relay.run_once()
    assert sentences(sink) == ["From before.", "Sentence 1."]


def test_sinks_wait_for_the_sentences(make):
    _, relay, sink = make(Provider())
    relay.run_once(only=["log", "sink"])
    assert len(sink) == 0
    relay.run_once(only=["summaries"])
    relay.run_once(only=["sink"])
    assert len(sink) == 3


def test_grammar_writes_unless_another_is_given():
    database = MemoryDatabase()
    database.outbox.append(make_events(1))
    Relay(database.log).run_once()
    [event] = database.log.read(0, 1)
    assert event.summary
    assert event.summary.startswith("Alice ")
