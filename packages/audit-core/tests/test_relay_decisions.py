"""What the relay decides without any I/O: waits, batches, settings."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_core.errors import EncodeError, PartialWrite, PermanentError, RetryableError
from audit_core.ids import uuid7
from audit_core.log import target_key
from audit_core.relay import RelaySettings
from audit_core.relay.backoff import idle_delay_seconds, lease_ttl_seconds, retry_delay_seconds
from audit_core.relay.batch import Batch, Blocked, Verdict, verdict
from audit_core.testing import make_event, make_events


def delay(failures, *, chance=1.0, **values):
    return retry_delay_seconds(failures, base_seconds=0.5, cap_seconds=60.0, random=lambda: chance, **values)


class TestBackoff:
    def test_it_doubles_up_to_the_cap(self):
        assert [delay(n) for n in range(1, 10)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]

    def test_a_day_of_failures_overflows_nothing(self):
        assert delay(100_000) == 60

    @given(st.integers(1, 1000), st.floats(0, 1))
    def test_jitter_is_full(self, failures, chance):
        assert delay(failures, chance=chance) == delay(failures) * chance

    def test_what_the_store_asked_for_is_honoured(self):
        assert delay(1, chance=0.0, retry_after_seconds=90.0) == 90.0
        assert delay(9, chance=1.0, retry_after_seconds=2.0) == 60.0

    def test_a_store_cannot_ask_for_ever(self):
        assert delay(1, retry_after_seconds=math.inf) == 3600.0
        assert delay(1, retry_after_seconds=-5.0) == 0.5

    def test_idle_pauses_grow_and_end_with_work(self):
        pauses, previous = [], 0.0
        for _ in range(7):
            previous = idle_delay_seconds(previous, moved=False, min_seconds=0.05, max_seconds=1.0)
            pauses.append(previous)
        assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
        assert idle_delay_seconds(1.0, moved=True, min_seconds=0.05, max_seconds=1.0) == 0.0

    def test_a_slow_sink_gets_longer_leases(self):
        assert lease_ttl_seconds(0.01, base_seconds=4, cap_seconds=300) == 4
        assert lease_ttl_seconds(30, base_seconds=4, cap_seconds=300) == 60
        assert lease_ttl_seconds(1000, base_seconds=4, cap_seconds=300) == 300


class TestSettings:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"batch_size": 0}, "batch_size is 0"),
            ({"lease_seconds": -1.0}, "lease_seconds is -1.0"),
            ({"idle_max_seconds": math.inf}, "above zero and finite"),
            ({"idle_max_seconds": math.nan}, "above zero and finite"),
            ({"backoff_base_seconds": 100}, "more than backoff_cap_seconds"),
        ],
    )
    def test_what_cannot_work_is_refused(self, values, message):
        with pytest.raises(ValueError, match=message):
            RelaySettings(**values)

    @pytest.mark.parametrize("values", [{"batch_size": 2.5}, {"lease_seconds": "4"}, {"stop_seconds": True}])
    def test_what_is_no_number_is_refused(self, values):
        with pytest.raises(TypeError, match="must be a number"):
            RelaySettings(**values)


class TestVerdict:
    events = make_events(2, first_seq=1)

    @pytest.mark.parametrize(
        "error", [RetryableError("503"), OSError("reset"), ValueError("?"), PartialWrite({}), KeyError("x")]
    )
    def test_what_is_not_known_to_be_a_refusal_is_an_outage(self, error):
        assert verdict(error, self.events) is Verdict.OUTAGE

    def test_refusals(self):
        assert verdict(PermanentError("too large"), self.events) is Verdict.REFUSED
        assert verdict(EncodeError("no"), self.events) is Verdict.REFUSED
        assert verdict(PartialWrite({self.events[0].id: "no"}), self.events) is Verdict.PARTIAL

    def test_a_partial_write_that_names_strangers_proves_nothing(self):
        assert verdict(PartialWrite({uuid7(): "no"}), self.events) is Verdict.OUTAGE


def play(events, refuses, blocked=None):
    """Write ``events`` into a store that refuses a batch with any of these ids; what was written, in
    order.
    """
    batch = Batch(events, blocked or Blocked({}), through=len(events))
    written, calls = [], 0
    while (piece := batch.next()) is not None:
        calls += 1
        assert piece
        if any(event.id in refuses for event in piece):
            batch.refused(PermanentError("no"))
        else:
            written += piece
            batch.accepted()
    assert batch.settled == len(events)
    assert batch.delivered == written
    return batch, calls


class TestBatch:
    def test_an_empty_batch_is_settled(self):
        batch, calls = play([], set())
        assert (batch.settled, calls) == (0, 0)

    @given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=40))
    def test_the_culprits_and_only_their_followers_are_parked(self, plan):
        events = [make_event(target=f"a.A:{target}", seq=n) for n, (target, _) in enumerate(plan, start=1)]
        poison = {event.id for event, (_, bad) in zip(events, plan, strict=True) if bad}
        batch, _ = play(events, poison)
        expected_parked, ill = [], set()
        for event in events:
            if event.id in poison or target_key(event) in ill:
                ill.add(target_key(event))
                expected_parked.append(event.id)
        parked = [event.id for event, _, _ in batch.refusals]
        assert sorted(parked) == sorted(expected_parked)
        assert [e.id for e in batch.delivered] == [e.id for e in events if e.id not in set(parked)]

    def test_one_bad_event_in_a_thousand_is_found_in_a_few_writes(self):
        events = make_events(1000, targets=1000, first_seq=1)
        batch, calls = play(events, {events[700].id})
        assert [event.id for event, _, _ in batch.refusals] == [events[700].id]
        assert calls <= 2 * 11

    def test_events_without_a_target_hold_up_nobody(self):
        events = [make_event("login", target=None, seq=n) for n in (1, 2, 3)]
        batch, _ = play(events, {events[0].id})
        assert batch.delivered == events[1:]

    def test_only_what_comes_after_a_parked_event_is_blocked(self):
        # The cursor was not moved yet when the worker died: event 1 comes again and is not to be parked.
        events = [make_event(target="a.A:1", seq=n) for n in (1, 2, 3)]
        batch, _ = play(events, {events[1].id}, Blocked({("a.A", "1"): 2}))
        assert batch.delivered == events[:1]
        assert [event.seq for event, _, _ in batch.refusals] == [2, 3]

    def test_an_outage_leaves_the_rest_unsettled(self):
        events = make_events(8, targets=8, first_seq=1)
        batch = Batch(events, Blocked({}), through=8)
        assert batch.settled == 0
        assert batch.next() == events
        batch.refused(PermanentError("one of them"))
        assert batch.next() == events[:4]
        batch.accepted()
        assert batch.settled == 4
        assert batch.next() == events[4:]  # and now the store goes down
        assert batch.settled == 4

    def test_a_partial_write_parks_the_named(self):
        events = make_events(4, targets=4, first_seq=1)
        batch = Batch(events, Blocked({}), through=4)
        batch.next()
        batch.refused(PartialWrite({events[2].id: "too large"}))
        assert batch.next() is None
        assert batch.delivered == [events[0], events[1], events[3]]
        assert [(event, reason) for event, reason, _ in batch.refusals] == [(events[2], "too large")]
