"""The worker: threads, wake-ups, an orderly stop."""

import threading
import time
from dataclasses import replace

import pytest

from audit_core.memory import MemoryDatabase
from audit_core.relay import Relay, RelaySettings, Worker
from audit_core.storages.memory import MemoryStorage
from audit_core.testing import make_event, make_events

SETTINGS = RelaySettings(idle_min_seconds=0.005, idle_max_seconds=0.02, stop_seconds=5, batch_size=10)


class Running:
    """A worker in a thread of its own for the length of a block."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.stop = threading.Event()
        self.orderly = None
        self.error = None
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            self.orderly = self.worker.run(self.stop)
        except BaseException as error:
            self.error = error

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self.stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


def test_it_delivers_what_is_appended_while_it_runs():
    database, one, two = MemoryDatabase(), MemoryStorage(), MemoryStorage()
    with Running(Worker(Relay(database.log, {"one": one, "two": two}, settings=SETTINGS))) as running:
        for n in range(30):
            database.outbox.append(make_events(3, first_seq=None))
            if n % 10 == 0:
                time.sleep(0.05)  # long enough to be found idle
        eventually(lambda: len(one) == len(two) == 90)
    assert running.orderly is True
    assert [event.seq for event in one.events] == list(range(1, 91))
    assert {cursor.owner for cursor in database.log.cursors()} == {None}


def test_a_sink_that_hangs_delays_no_other_and_no_stop():
    class Hanging(MemoryStorage):
        def write(self, events):
            release.wait(30)

    release = threading.Event()
    database, quick = MemoryDatabase(), MemoryStorage()
    settings = RelaySettings(idle_min_seconds=0.005, idle_max_seconds=0.02, stop_seconds=0.1)
    worker = Worker(Relay(database.log, {"hanging": Hanging(), "quick": quick}, settings=settings))
    with Running(worker) as running:
        database.outbox.append([make_event()])
        eventually(lambda: len(quick) == 1)
        database.outbox.append([make_event()])
        eventually(lambda: len(quick) == 2)
    assert running.orderly is False
    assert database.log.cursor("hanging").seq == 0
    release.set()


def test_wake_ends_the_pause():
    settings = RelaySettings(idle_min_seconds=60, idle_max_seconds=60)
    database, sink = MemoryDatabase(), MemoryStorage()
    passes = []
    worker = Worker(Relay(database.log, {"sink": sink}, settings=settings), on_report=passes.append)
    with Running(worker):
        eventually(lambda: len(passes) >= 2)
        database.outbox.append([make_event()])
        worker.wake()
        eventually(lambda: len(sink) == 1)


def test_connections_are_released_by_a_thread_whose_sink_is_out_of_order_and_by_all_when_they_end_40():
    class Down(MemoryStorage):
        def write(self, events):
            raise ConnectionError("no route to host")

    database, well, released, passes = MemoryDatabase(), MemoryStorage(), [], []
    database.outbox.append([make_event()])
    settings = replace(SETTINGS, backoff_base_seconds=60, backoff_cap_seconds=60)
    worker = Worker(
        Relay(database.log, {"down": Down(), "well": well}, settings=settings, random=lambda: 1.0),
        release_connections=lambda: released.append(threading.current_thread().name),
        on_report=lambda report: passes.extend(report.stages),
    )
    with Running(worker):
        eventually(lambda: passes.count("down") > 5 and passes.count("well") > 5)
        # After the failure, and after each look at whether its time has come.
        assert set(released) == {"audit-relay-down"}
        assert len(released) >= 5
    assert set(released) == {"audit-relay-log", "audit-relay-down", "audit-relay-well"}


def test_pooled_connections_are_released_after_every_pass_before_any_pause():
    """A pool with fewer connections than threads: who pauses with one in hand keeps it from the others for ever."""
    connection = threading.Lock()  # a pool of one
    database, sinks = MemoryDatabase(), {"one": MemoryStorage(), "two": MemoryStorage()}
    cursors, held = database.log.cursors, threading.local()

    def take_and_look():
        if not getattr(held, "one", False):
            assert connection.acquire(timeout=10), "the pool is empty"
            held.one = True
        return cursors()

    def release():
        if getattr(held, "one", False):
            held.one = False
            connection.release()

    database.log.cursors = take_and_look
    settings = replace(SETTINGS, idle_min_seconds=60, idle_max_seconds=60)
    worker = Worker(
        Relay(database.log, sinks, settings=settings),
        release_connections=release,
        release_pooled_connections=release,
    )
    database.outbox.append([make_event()])
    with Running(worker):
        eventually(lambda: all(len(sink) == 1 for sink in sinks.values()))


def test_what_is_committed_does_not_wake_a_thread_whose_sink_is_out_of_order():
    class Down(MemoryStorage):
        def write(self, events):
            raise ConnectionError("no route to host")

    database, well, passes = MemoryDatabase(), MemoryStorage(), []
    settings = replace(SETTINGS, idle_min_seconds=0.01, idle_max_seconds=60)
    worker = Worker(
        Relay(database.log, {"down": Down(), "well": well}, settings=settings),
        on_report=lambda report: passes.extend(stage.name for stage in report.failures),
    )
    with Running(worker):
        for n in range(1, 6):
            database.outbox.append([make_event()])
            worker.wake()
            eventually(lambda n=n: len(well) == n)
    assert passes == ["down"]


def test_it_survives_a_database_that_is_gone_for_a_while():
    database, sink = MemoryDatabase(), MemoryStorage()
    cursors, unsequenced = database.log.cursors, database.log.unsequenced

    def gone():
        raise ConnectionError("server closed the connection unexpectedly")

    failures = []
    worker = Worker(
        Relay(database.log, {"sink": sink}, settings=SETTINGS),
        on_report=lambda report: failures.extend(report.failures),
    )
    with Running(worker):
        database.log.cursors = database.log.unsequenced = gone
        database.outbox.append([make_event()])
        eventually(lambda: {failure.name for failure in failures} == {"log", "summaries", "sink"})
        database.log.cursors, database.log.unsequenced = cursors, unsequenced
        eventually(lambda: len(sink) == 1)


def test_an_error_that_no_code_expects_ends_it():
    class Impossible(BaseException):
        pass

    def probe(step):
        raise Impossible

    database = MemoryDatabase()
    database.outbox.append([make_event()])
    with Running(Worker(Relay(database.log, settings=SETTINGS, probe=probe))) as running:
        eventually(lambda: running.error is not None)
    assert isinstance(running.error, Impossible)


@pytest.mark.parametrize("workers", [3])
def test_rival_workers_share_the_work(workers):
    database, sink = MemoryDatabase(), MemoryStorage()
    relays = [Relay(database.log, {"sink": sink}, settings=SETTINGS) for _ in range(workers)]
    running = [Running(Worker(relay)) for relay in relays]
    for one in running:
        one.__enter__()
    writers = [
        threading.Thread(target=lambda: [database.outbox.append(make_events(2)) for _ in range(25)])
        for _ in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    eventually(lambda: len(sink) == 200)
    for one in running:
        one.__exit__()
    assert [event.seq for event in sink.events] == list(range(1, 201))
