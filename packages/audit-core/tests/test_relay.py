"""What the relay does, in virtual time, with the in-memory log."""

import logging
import threading
from collections.abc import Sequence

import pytest

from audit_core.errors import ConfigurationError, LeaseLost, PartialWrite, PermanentError, RetryableError
from audit_core.event import RecordedEvent
from audit_core.log import SEQUENCER, SUMMARIES
from audit_core.memory import MemoryDatabase
from audit_core.relay import CRASH_POINTS, Relay, RelaySettings, State
from audit_core.storages.memory import MemoryStorage
from audit_core.streams.memory import MemoryStream
from audit_core.testing import VirtualClock, make_event, make_events


class Sink(MemoryStorage):
    """A storage that can be put out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.outage: Exception | None = None
        self.poison: set = set()  # ids that are refused for good
        self.lose_acknowledgement = False
        self.calls = 0

    def write(self, events: Sequence[RecordedEvent]) -> None:
        self.calls += 1
        if self.outage:
            raise self.outage
        if bad := [event for event in events if event.id in self.poison]:
            raise PermanentError(f"{len(bad)} refused")
        super().write(events)
        if self.lose_acknowledgement:
            self.lose_acknowledgement = False
            raise ConnectionResetError("the answer never came")


class Told:
    """Hooks that remember."""

    def __init__(self) -> None:
        self.delivered: list[tuple] = []
        self.failed: list[tuple] = []

    def batch_delivered(self, sink, events):
        self.delivered.append((sink, [event.seq for event in events]))

    def delivery_failed(self, sink, events, error, attempt, final):
        self.failed.append((sink, [event.seq for event in events], type(error), attempt, final))


class World:
    """A database, some sinks, and relays on them."""

    def __init__(self, *names: str) -> None:
        self.clock = VirtualClock()
        self.database = MemoryDatabase(self.clock)
        self.log = self.database.log
        self.sinks = {name: Sink() for name in names}
        self.told = Told()
        self.relay = self.make_relay()

    def make_relay(self, **values) -> Relay:
        values = {
            "hooks": self.told,
            "settings": RelaySettings(batch_size=4),
            "monotonic": self.clock.monotonic,
            "random": lambda: 1.0,
            **values,
        }
        return Relay(self.log, values.pop("sinks", self.sinks), **values)

    def append(self, *events: RecordedEvent) -> list[RecordedEvent]:
        self.database.outbox.append(events)
        return list(events)

    def stored(self, name: str) -> list[int | None]:
        return [event.seq for event in self.sinks[name].events]

    def parked(self, name: str) -> list[int]:
        return [parked.seq for parked in self.log.parked(name)]


@pytest.fixture
def world() -> World:
    return World("archive")


class TestThePass:
    def test_events_go_all_the_way(self, world):
        events = world.append(*make_events(10))
        report = world.relay.run_once()
        assert [event.id for event in world.sinks["archive"].events] == [event.id for event in events]
        assert world.stored("archive") == list(range(1, 11))
        assert all(event.summary for event in world.sinks["archive"].events)
        counts = {name: (stage.events, stage.parked, stage.state) for name, stage in report.stages.items()}
        assert counts == {
            SEQUENCER: (10, 0, State.IDLE),
            SUMMARIES: (10, 0, State.IDLE),
            "archive": (10, 0, State.IDLE),
        }
        assert (report.moved, report.failures, report.parked) == (True, [], 0)

    def test_with_nothing_to_do_no_lease_is_taken(self, world):
        world.append(*make_events(1))
        world.relay.run_once()
        epochs = [cursor.epoch for cursor in world.log.cursors()]
        assert not world.relay.run_once().moved
        assert [cursor.epoch for cursor in world.log.cursors()] == epochs

    def test_without_sinks_events_are_sequenced_and_summarized(self):
        world = World()
        world.append(*make_events(5))
        world.relay.run_once()
        assert [bool(event.summary) for event in world.log.read(0, 10)] == [True] * 5

    def test_leases_are_given_back(self, world):
        world.append(*make_events(5))
        world.relay.run_once()
        assert {cursor.owner for cursor in world.log.cursors()} == {None}

    def test_a_backlog_is_drained_turn_by_turn(self):
        world = World("one", "two")
        world.relay = world.make_relay(settings=RelaySettings(batch_size=3, batches_per_turn=2))
        world.append(*make_events(50))
        world.relay.run_once()
        assert world.stored("one") == world.stored("two") == list(range(1, 51))

    def test_a_sink_that_is_added_later_starts_at_the_beginning(self, world):
        world.append(*make_events(6))
        world.relay.run_once()
        world.sinks["new"] = Sink()
        world.make_relay().run_once()
        assert world.stored("new") == [1, 2, 3, 4, 5, 6]

    def test_a_stream_is_published_to(self, world):
        stream = MemoryStream()
        world.append(*make_events(5))
        world.make_relay(sinks={"events": stream}).run_once()
        assert [event.seq for event in stream.events] == [1, 2, 3, 4, 5]

    def test_only_the_named_stages_run(self, world):
        world.append(*make_events(3))
        assert set(world.relay.run_once(only=[SEQUENCER]).stages) == {SEQUENCER}
        assert world.log.cursor(SUMMARIES).seq == 0

    def test_a_budget_ends_the_pass(self, world):
        world.append(*make_events(3))
        assert world.relay.run_once(budget_seconds=0).stages == {}

    def test_stop_ends_the_pass_with_the_cursor_true_44(self, world):
        stop = threading.Event()
        world.relay = world.make_relay(
            probe=lambda step: stop.set() if step == "deliver.after_write" else None
        )
        world.append(*make_events(20))
        world.relay.run_once(stop)
        assert world.log.cursor("archive").seq == len(world.stored("archive")) == 4
        world.relay.run_once()
        assert world.stored("archive") == list(range(1, 21))

    def test_every_crash_point_is_passed(self, world):
        steps = set()
        relay = world.make_relay(probe=steps.add)
        events = world.append(*make_events(3))
        world.sinks["archive"].poison = {events[0].id}
        relay.run_once()
        world.sinks["archive"].poison = set()
        relay.retry("archive")
        world.append(*make_events(1))
        world.sinks["archive"].outage = OSError("down")
        relay.run_once()
        assert steps == set(CRASH_POINTS)


class TestConfiguration:
    def test_a_sink_that_is_none(self, world):
        with pytest.raises(ConfigurationError, match="neither write"):
            world.make_relay(sinks={"archive": object()})

    @pytest.mark.parametrize("name", ["log", "summaries"])
    def test_a_reserved_name(self, world, name):
        with pytest.raises(ConfigurationError, match="Rename the sink"):
            world.make_relay(sinks={name: Sink()})

    def test_an_unknown_sink_cannot_be_retried(self, world):
        with pytest.raises(ConfigurationError, match="The sinks are: archive"):
            world.relay.retry("archiv")


class TestOutage:
    @pytest.mark.parametrize(
        "error", [RetryableError("503"), OSError("reset"), RuntimeError("?"), LeaseLost("x")]
    )
    def test_an_outage_parks_nothing_however_long_it_lasts(self, world, error):
        world.sinks["archive"].outage = error
        world.append(*make_events(6))
        for attempt in range(1, 30):
            report = world.relay.run_once()
            assert report.stages["archive"].state is State.FAILED
            assert world.log.cursor("archive").failures == attempt
            world.clock.advance(61)
        assert world.parked("archive") == []
        world.sinks["archive"].outage = None
        world.relay.run_once()
        assert world.stored("archive") == [1, 2, 3, 4, 5, 6]
        assert world.log.cursor("archive").failures == 0

    def test_the_sink_is_left_alone_until_the_wait_is_over(self, world):
        sink = world.sinks["archive"]
        sink.outage = OSError("down")
        world.append(*make_events(1))
        world.relay.run_once()
        for _ in range(4):
            world.clock.advance(0.1)
            assert world.relay.run_once().stages["archive"].state is State.HELD
        assert sink.calls == 1
        world.clock.advance(0.1)
        assert world.relay.run_once().stages["archive"].state is State.FAILED
        assert sink.calls == 2

    def test_waits_double(self, world):
        world.sinks["archive"].outage = OSError("down")
        world.append(*make_events(1))
        waits = []
        for _ in range(5):
            world.relay.run_once()
            cursor = world.log.cursor("archive")
            waits.append((cursor.retry_at - world.clock()).total_seconds())
            world.clock.advance(waits[-1])
        assert waits == [0.5, 1, 2, 4, 8]

    def test_what_the_store_asks_for_is_waited(self, world):
        world.sinks["archive"].outage = RetryableError("throttled", retry_after_seconds=30)
        world.append(*make_events(1))
        world.relay.run_once()
        assert (world.log.cursor("archive").retry_at - world.clock()).total_seconds() == 30

    def test_plugins_are_told(self, world):
        world.sinks["archive"].outage = OSError("down")
        world.append(*make_events(2))
        world.relay.run_once()
        world.clock.advance(1)
        world.relay.run_once()
        assert world.told.failed == [
            ("archive", [1, 2], OSError, 1, False),
            ("archive", [1, 2], OSError, 2, False),
        ]
        world.sinks["archive"].outage = None
        world.clock.advance(2)
        world.relay.run_once()
        assert world.told.delivered == [("archive", [1, 2])]

    def test_one_sink_down_delays_no_other_43(self):
        world = World("down", "up")
        world.sinks["down"].outage = OSError("for a day")
        for day in range(3):
            world.append(*make_events(5))
            world.relay.run_once()
            assert len(world.stored("up")) == 5 * (day + 1)
            world.clock.advance(86_400)
        world.sinks["down"].outage = None
        world.relay.run_once()
        assert world.stored("down") == world.stored("up") == list(range(1, 16))

    def test_a_lost_acknowledgement_stores_once_41(self, world):
        world.sinks["archive"].lose_acknowledgement = True
        world.append(*make_events(3))
        world.relay.run_once()
        assert world.log.cursor("archive").seq == 0
        world.clock.advance(1)
        world.relay.run_once()
        assert world.stored("archive") == [1, 2, 3]
        assert world.sinks["archive"].calls == 2


class TestPoison:
    def test_the_target_of_a_refused_event_is_parked_and_nothing_else_42(self, world):
        events = world.append(*make_events(9, targets=3))  # 1 4 7 · 2 5 8 · 3 6 9
        world.sinks["archive"].poison = {events[3].id}
        world.relay.run_once()
        assert world.parked("archive") == [4, 7]
        assert world.stored("archive") == [1, 2, 3, 5, 6, 8, 9]
        assert world.log.cursor("archive").seq == 9
        reasons = [parked.reason for parked in world.log.parked()]
        assert reasons == [
            "PermanentError: 1 refused",
            "It comes after a parked event of the same target.",
        ]
        assert world.told.failed == [("archive", [4], PermanentError, 1, True)]

    def test_later_events_of_the_target_are_parked_on_arrival(self, world):
        events = world.append(*make_events(3))
        world.sinks["archive"].poison = {events[0].id}
        world.relay.run_once()
        world.sinks["archive"].poison = set()
        world.append(*make_events(3))
        world.relay.run_once()
        assert world.parked("archive") == [1, 4]
        assert world.stored("archive") == [2, 3, 5, 6]

    def test_an_event_that_only_one_sink_refuses_is_parked_there(self):
        world = World("strict", "lenient")
        events = world.append(*make_events(4))
        world.sinks["strict"].poison = {events[1].id}
        world.relay.run_once()
        assert world.parked("strict") == [2]
        assert world.parked("lenient") == []
        assert world.stored("lenient") == [1, 2, 3, 4]

    def test_an_outage_in_the_midst_of_the_search_keeps_what_was_settled(self, world):
        events = world.append(*make_events(4, targets=4))
        sink = world.sinks["archive"]
        sink.poison = {events[1].id}
        write = sink.write

        def down_for_the_second_half(batch):
            if batch[0].seq >= 3:
                raise OSError("down")
            write(batch)

        sink.write = down_for_the_second_half
        relay = world.make_relay()
        assert relay.run_once().stages["archive"].state is State.FAILED
        cursor = world.log.cursor("archive")
        assert (cursor.seq, cursor.failures) == (2, 1)
        assert (world.stored("archive"), world.parked("archive")) == ([1], [2])

    def test_a_partial_write_parks_the_named(self, world):
        events = world.append(*make_events(4, targets=4))
        sink = world.sinks["archive"]

        def write(batch):
            MemoryStorage.write(sink, [event for event in batch if event.id != events[2].id])
            if any(event.id == events[2].id for event in batch):
                raise PartialWrite({events[2].id: "too large"})

        sink.write = write
        world.make_relay().run_once()
        assert (world.stored("archive"), world.parked("archive")) == ([1, 2, 4], [3])

    def test_retry_resumes_in_order(self, world):
        events = world.append(*make_events(12, targets=3))
        world.sinks["archive"].poison = {events[0].id, events[4].id}
        world.relay.run_once()
        assert world.parked("archive") == [1, 4, 5, 7, 8, 10, 11]
        world.sinks["archive"].poison = set()
        retried = world.relay.retry("archive")
        assert (retried.resumed, retried.remaining, retried.state) == (7, 0, State.IDLE)
        assert world.parked("archive") == []
        assert world.stored("archive")[-7:] == [1, 4, 5, 7, 8, 10, 11]
        world.append(make_event(target="policies.Policy:1"))
        world.relay.run_once()
        assert world.stored("archive")[-1] == 13

    def test_what_is_refused_again_stays_parked(self, world):
        events = world.append(*make_events(6, targets=2))
        sink = world.sinks["archive"]
        sink.poison = {events[0].id, events[1].id}
        world.relay.run_once()
        sink.poison = {events[2].id}
        retried = world.relay.retry("archive")
        assert (retried.resumed, retried.remaining) == (4, 2)
        assert world.parked("archive") == [3, 5]
        world.append(*make_events(2, targets=2))
        world.relay.run_once()
        assert world.parked("archive") == [3, 5, 7]

    def test_a_retry_during_an_outage_loses_nothing(self, world):
        events = world.append(*make_events(3))
        sink = world.sinks["archive"]
        sink.poison = {events[0].id}
        world.relay.run_once()
        sink.outage = OSError("down")
        retried = world.relay.retry("archive")
        assert (retried.state, retried.error) == (State.FAILED, "OSError: down")
        assert world.parked("archive") == [1]
        assert world.relay.retry("archive").state is State.HELD

    def test_a_retry_needs_the_lease(self, world):
        world.log.acquire("archive", "another worker", 60)
        assert world.relay.retry("archive").state is State.HELD


class TestLeases:
    def crash_at(self, world, step):
        """A relay that dies at ``step``, giving nothing back."""

        class Killed(BaseException):
            pass

        def probe(reached):
            if reached == step:
                world.log.release = lambda lease: None
                raise Killed

        relay = world.make_relay(probe=probe)
        with pytest.raises(Killed):
            relay.run_once()
        del world.log.release

    @pytest.mark.parametrize(
        "step", [s for s in CRASH_POINTS if s.split(".")[0] != "retry" and "fail" not in s]
    )
    def test_another_worker_takes_over_from_a_dead_one(self, world, step):
        events = world.append(*make_events(9))
        world.sinks["archive"].poison = {events[4].id}
        self.crash_at(world, step)
        survivor = world.make_relay()
        survivor.run_once()
        world.clock.advance(4.1)
        survivor.run_once()
        assert world.stored("archive") == [1, 2, 3, 4, 6, 7, 9]
        assert world.parked("archive") == [5, 8]
        assert [event.seq for event in world.log.read(0, 100)] == list(range(1, 10))

    @pytest.mark.parametrize(
        "step", [s for s in CRASH_POINTS if s.split(".")[0] != "retry" and "fail" not in s]
    )
    def test_a_zombie_changes_nothing_39(self, world, step):
        rival = world.make_relay()
        slept = []

        def sleep_past_the_lease(reached):
            if reached == step and not slept:
                slept.append(step)
                world.clock.advance(60)
                rival.run_once()
                world.append(*make_events(2))
                rival.run_once()

        events = world.append(*make_events(9))
        world.sinks["archive"].poison = {events[4].id}
        world.make_relay(probe=sleep_past_the_lease).run_once()
        rival.run_once()
        assert slept
        assert world.stored("archive") == [1, 2, 3, 4, 6, 7, 9, 10]
        assert world.parked("archive") == [5, 8, 11]
        assert world.log.cursor("archive").seq == 11

    def test_a_lost_lease_ends_the_turn_at_once(self, world):
        def lose(step):
            if step == "deliver.before_write":
                world.clock.advance(60)
                world.log.acquire("archive", "rival", 600)

        world.append(*make_events(40))
        report = world.make_relay(probe=lose).run_once()
        assert report.stages["archive"].state is State.LOST
        assert world.sinks["archive"].calls == 1

    def test_a_lease_is_renewed_during_a_long_turn(self, world):
        rival = world.make_relay()
        seen = []

        def probe(step):
            if step == "deliver.before_write":
                world.clock.advance(1.5)
                seen.append(rival.run_once().stages["archive"].state)

        world.append(*make_events(40))
        world.make_relay(probe=probe).run_once()
        assert set(seen) == {State.HELD}
        assert world.log.cursor("archive").epoch == 1
        assert world.stored("archive") == list(range(1, 41))

    def test_two_workers_on_a_slow_sink_get_somewhere(self, world):
        # Each call takes longer than the lease: without longer leases each would undo the other's for ever.
        sink = world.sinks["archive"]
        relays: list[Relay] = []
        depth = 0
        write = sink.write

        def slow(events):
            nonlocal depth
            depth += 1
            world.clock.advance(15)
            if depth < 3:
                relays[depth % 2].run_once(only=["archive"])
            world.clock.advance(15)
            depth -= 1
            write(events)

        sink.write = slow
        relays += [world.make_relay(), world.make_relay()]
        world.append(*make_events(3))
        relays[0].run_once()
        relays[1].run_once()
        assert world.log.cursor("archive").seq == 3
        assert world.stored("archive") == [1, 2, 3]

    def test_a_paused_sink_is_left_alone(self, world):
        world.log.pause("archive")
        world.append(*make_events(3))
        assert world.relay.run_once().stages["archive"].state is State.HELD
        world.log.resume("archive")
        world.relay.run_once()
        assert world.stored("archive") == [1, 2, 3]


class TestABrokenLog:
    def test_one_broken_stage_stops_no_other(self, caplog):
        world = World("first", "second")
        park = world.log.park

        def broken(lease, events, reason):
            if lease.name == "first":
                raise OSError("disk full")
            park(lease, events, reason)

        world.log.park = broken
        events = world.append(*make_events(3))
        for sink in world.sinks.values():
            sink.poison = {events[0].id}
        with caplog.at_level(logging.ERROR, "audit.relay"):
            first, second = world.relay.run_once(), world.relay.run_once()
        assert world.stored("second") == [2, 3]
        assert [(f.name, f.state, f.error) for f in first.failures] == [
            ("first", State.BROKEN, "OSError: disk full")
        ]
        assert second.failures
        assert [record.exc_info is not None for record in caplog.records] == [True, False]  # one traceback

    def test_pruned_events_are_no_obstacle(self, world):
        world.append(*make_events(10))
        world.relay.run_once(only=[SEQUENCER])
        read = world.log.read
        world.log.read = lambda after, limit: [e for e in read(after, limit) if not 2 <= e.seq <= 8]
        world.relay.run_once()
        assert world.stored("archive") == [1, 9, 10]
        assert world.log.cursor("archive").seq == 10

    def test_an_event_with_a_damaged_text_holds_up_nothing(self, world):
        [event] = make_events(1)
        damaged = RecordedEvent(id=event.id, text="{", leaf_hash=event.leaf_hash)
        with world.database.transaction() as transaction:
            transaction.append([damaged, *make_events(2)])
        world.relay.run_once()
        assert world.stored("archive") == [1, 2, 3]
        assert [bool(event.summary) for event in world.log.read(0, 3)] == [False, True, True]
