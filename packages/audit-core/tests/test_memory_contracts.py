"""The in-memory implementations are the reference: they pass every contract."""

from contextlib import AbstractContextManager

import pytest

from audit_core.memory import MemoryDatabase
from audit_core.query import EventQuery
from audit_core.storages import PrunableStorage, ReadableStorage, SearchableStorage
from audit_core.storages.memory import MemoryStorage
from audit_core.streams import ConsumableStream
from audit_core.streams.memory import MemoryStream
from audit_core.testing import (
    LogContract,
    LogEnvironment,
    OutboxContract,
    SearchContract,
    StorageContract,
    StreamContract,
    VirtualClock,
    make_event,
    make_events,
)


class MemoryEnvironment(LogEnvironment):
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.database = MemoryDatabase(self.clock)
        self.outbox, self.log = self.database.outbox, self.database.log

    def transaction(self) -> AbstractContextManager[object]:
        return self.database.transaction()

    def advance_clock(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestMemoryOutbox(OutboxContract):
    @pytest.fixture
    def env(self) -> MemoryEnvironment:
        return MemoryEnvironment()


class TestMemoryLog(LogContract):
    @pytest.fixture
    def env(self) -> MemoryEnvironment:
        return MemoryEnvironment()


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage()


class TestMemorySearch(SearchContract):
    @pytest.fixture
    def storage(self) -> MemoryStorage:
        return MemoryStorage()


class TestMemoryStream(StreamContract):
    quiet_seconds = 0.02

    @pytest.fixture
    def stream(self) -> MemoryStream:
        return MemoryStream()


def test_they_can_do_everything():
    assert isinstance(MemoryStorage(), SearchableStorage)
    assert isinstance(MemoryStorage(), PrunableStorage)
    assert isinstance(MemoryStorage(), ReadableStorage)
    assert isinstance(MemoryStream(), ConsumableStream)


def test_events_that_are_not_sequenced_yet_are_the_newest_of_a_history():
    storage = MemoryStorage()
    waiting = make_event()
    numbered = make_events(2, targets=1, first_seq=1)
    storage.write([waiting, *numbered])
    page = storage.search(EventQuery(target_types=["policies.Policy"], target_id="1"))
    assert [event.id for event in page.events] == [waiting.id, numbered[1].id, numbered[0].id]


def test_an_open_transaction_needs_no_thread():
    database = MemoryDatabase()
    late = database.begin()
    late.append([make_event(target="a.A:1")])
    database.outbox.append([make_event(target="a.A:2")])
    assert database.outbox.waiting().count == 1
    late.commit()
    assert database.outbox.waiting().count == 2


def test_a_reader_that_lost_a_partition_commits_nothing_of_it():
    stream = MemoryStream()
    first = stream.subscribe("group", "a")
    stream.publish(make_events(8, targets=8, first_seq=1))
    assert len(first.poll(8, 0)) == 8
    second = stream.subscribe("group", "b")  # takes half of the partitions over
    first.commit()
    again = second.poll(8, 0)
    assert again
    assert not first.poll(8, 0)
    first.close()
    second.close()
    third = stream.subscribe("group", "c")
    assert {e.id for e in third.poll(8, 0)} == {e.id for e in again}


def test_the_suites_say_what_is_missing():
    class Blind:
        def write(self, events):
            """Keeps nothing and cannot search."""

    with pytest.raises(NotImplementedError, match=r"override stored\(\)"):
        StorageContract().stored(Blind())
