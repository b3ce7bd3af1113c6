"""A storage for which each batch has a price: what waits for company, in the log, and for how long."""

import threading

import pytest

from audit_core.memory import MemoryDatabase
from audit_core.relay import Relay, RelaySettings, State, Worker
from audit_core.storages.contract import BatchingStorage
from audit_core.storages.memory import MemoryStorage
from audit_core.testing import VirtualClock, make_events

BATCH = 6
SECONDS = 30.0


class Shelf(MemoryStorage):
    """It remembers what each call held."""

    def __init__(self):
        super().__init__()
        self.batches = []
        self.outage = None

    def write(self, events):
        if self.outage:
            raise self.outage
        self.batches.append([event.seq for event in events])
        super().write(events)


class Archive(Shelf):
    """A batch of it has a price."""

    batch_size = BATCH
    flush_interval_seconds = SECONDS


class World:
    def __init__(self):
        self.clock = VirtualClock()
        self.database = MemoryDatabase(self.clock)
        self.log, self.archive = self.database.log, Archive()
        self.relay = Relay(
            self.log,
            {"archive": self.archive},
            settings=RelaySettings(batch_size=4),
            monotonic=self.clock.monotonic,
            random=lambda: 1.0,
        )

    def append(self, count):
        self.database.outbox.append(make_events(count, occurred_at=self.clock()))

    def batches(self, *, patient=True):
        """What a pass gives the archive."""
        self.archive.batches.clear()
        self.relay.run_once(patient=patient)
        return self.archive.batches

    @property
    def cursor(self):
        return {cursor.name: cursor.seq for cursor in self.log.cursors()}["archive"]


@pytest.fixture
def world():
    return World()


def test_it_is_given_whole_batches_of_its_own_size(world):
    assert isinstance(world.archive, BatchingStorage)
    world.append(15)
    assert world.batches() == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]
    assert world.cursor == 12


def test_what_is_too_little_waits_without_a_lease(world):
    world.append(BATCH - 1)
    assert world.batches() == []
    report = world.relay.run_once(patient=True)
    assert report.stages["archive"].state is State.IDLE
    assert "archive" not in {cursor.name for cursor in world.log.cursors()}  # not even a lease was taken
    world.append(1)
    assert world.batches() == [[1, 2, 3, 4, 5, 6]]


def test_the_oldest_waits_no_longer_than_it_may(world):
    world.append(2)
    world.clock.advance(SECONDS - 1)
    world.append(1)
    assert world.batches() == []
    world.clock.advance(1)
    assert world.batches() == [[1, 2, 3]]
    world.append(1)
    assert world.batches() == []


def test_whoever_does_not_come_again_waits_for_nothing(world):
    world.append(BATCH + 2)
    assert world.batches(patient=False) == [[1, 2, 3, 4, 5, 6], [7, 8]]


def test_others_wait_for_nothing(world):
    other = Shelf()
    relay = Relay(world.log, {"other": other}, settings=RelaySettings(batch_size=4))
    world.append(5)
    relay.run_once(patient=True)
    assert other.batches == [[1, 2, 3, 4], [5]]


def test_what_was_refused_for_now_is_in_the_next_batch(world):
    world.append(BATCH)
    world.archive.outage = ConnectionResetError("gone")
    assert world.batches() == []
    world.archive.outage = None
    world.append(1)
    world.clock.advance(1)
    assert world.batches() == [[1, 2, 3, 4, 5, 6]]


def test_a_trimmed_or_damaged_event_keeps_nothing_waiting(world, monkeypatch):
    world.append(1)
    world.relay.run_once(patient=True)
    read = world.log.read

    def damaged(after, limit):
        events = list(read(after, limit))
        for event in events:
            object.__setattr__(event, "text", "[]")
            event.__dict__.pop("event", None)
        return events

    monkeypatch.setattr(world.log, "read", damaged)
    world.batches()
    assert world.cursor == 1


def test_a_worker_is_patient():
    world = World()
    world.append(BATCH + 1)
    passes, stop = [], threading.Event()

    def told(report):
        passes.append(report)
        if len(passes) > 20:
            stop.set()

    Worker(world.relay, on_report=told).run(stop)
    assert world.archive.batches == [[1, 2, 3, 4, 5, 6]]
