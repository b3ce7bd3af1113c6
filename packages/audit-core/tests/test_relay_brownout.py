"""One sink hangs, another fails half of its calls: a third one is served as if it were alone."""

import random
import threading
import time
from collections import defaultdict
from contextlib import contextmanager

import pytest

from audit_core.memory import MemoryDatabase
from audit_core.relay import Relay, RelaySettings, Worker
from audit_core.testing import make_event

LAG_SECONDS = 2.0  # from the commit to the arrival at the sink that works
COMMIT_SECONDS = 3.0
PAUSE_SECONDS = 0.01  # between two commits
TARGETS = 5
STOP_SECONDS = 0.5
SETTINGS = RelaySettings(backoff_cap_seconds=1.0, stop_seconds=STOP_SECONDS)


class Sink:
    """Keeps an event once, in the order of arrival, and when it came."""

    def __init__(self):
        self.arrivals = {}

    def write(self, events):
        now = time.monotonic()
        for event in events:
            self.arrivals.setdefault(event.id, (now, event))

    @property
    def by_target(self):
        seqs = defaultdict(list)
        for _, event in self.arrivals.values():
            seqs[event.event.target.id].append(event.seq)
        return seqs


class Hanging(Sink):
    """Answers no call before it is released."""

    def __init__(self):
        super().__init__()
        self.called, self.released = threading.Event(), threading.Event()

    def write(self, events):
        self.called.set()
        assert self.released.wait(60)
        super().write(events)


class Flaky(Sink):
    """Fails half of its calls until it is well again, and of these half after it has stored the events."""

    def __init__(self):
        super().__init__()
        self._chance = random.Random(1)
        self.calls = self.failures = 0
        self.is_well = threading.Event()

    def write(self, events):
        self.calls += 1
        fails = not self.is_well.is_set() and self._chance.random() < 0.5
        stores = not fails or self._chance.random() < 0.5
        if stores:
            super().write(events)
        if fails:
            self.failures += 1
            raise OSError("no answer")


class Brownout:
    """A relay over the three sinks, and what was committed for it."""

    def __init__(self):
        self.database = MemoryDatabase()
        self.hanging, self.flaky, self.well = Hanging(), Flaky(), Sink()
        self.sinks = {"hanging": self.hanging, "flaky": self.flaky, "well": self.well}
        self.relay = Relay(self.database.log, self.sinks, settings=SETTINGS)
        self.committed = {}

    @contextmanager
    def running(self, work):
        """``work(stop)`` in a thread until the block is left; no call hangs then."""
        stop = threading.Event()
        thread = threading.Thread(target=work, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            self.hanging.released.set()
            stop.set()
            thread.join(30)
            assert not thread.is_alive()

    def commit_for(self, seconds):
        """Small transactions over all targets."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            event = make_event(target=f"a.A:{len(self.committed) % TARGETS}")
            self.committed[event.id] = time.monotonic()
            self.database.outbox.append([event])
            time.sleep(PAUSE_SECONDS)

    def wait_for(self, *names):
        """Until these sinks have everything, and their cursors say so."""
        deadline = time.monotonic() + 30
        while any(self.database.log.cursor(name).seq < len(self.committed) for name in names):
            assert time.monotonic() < deadline, self.database.log.cursors()
            time.sleep(0.01)

    def lag_seconds(self, sink):
        """The longest time from just before the commit to the arrival."""
        return max(sink.arrivals[id_][0] - at for id_, at in self.committed.items())


@pytest.mark.slow
def test_a_sink_that_works_does_not_feel_the_others():
    brownout = Brownout()
    with brownout.running(Worker(brownout.relay).run):
        brownout.commit_for(COMMIT_SECONDS)
        brownout.wait_for("well")
        assert brownout.lag_seconds(brownout.well) < LAG_SECONDS
        assert brownout.hanging.arrivals == {}
        brownout.hanging.released.set()
        brownout.flaky.is_well.set()
        brownout.wait_for("hanging", "flaky")
    assert 0 < brownout.flaky.failures < brownout.flaky.calls
    for sink in brownout.sinks.values():
        assert sink.arrivals.keys() == brownout.committed.keys()
        assert len(sink.by_target) == TARGETS
        assert all(seqs == sorted(seqs) for seqs in sink.by_target.values())


@pytest.mark.slow
def test_the_lag_tells_when_the_sinks_share_a_thread():
    """The mistake that the test above is there to find."""

    def one_after_another(stop):
        while not stop.is_set():
            brownout.relay.run_once(stop)

    brownout = Brownout()
    with brownout.running(one_after_another):
        brownout.commit_for(COMMIT_SECONDS)
        brownout.hanging.released.set()
        brownout.wait_for("well")
    assert brownout.lag_seconds(brownout.well) > LAG_SECONDS


def test_a_stop_does_not_wait_for_a_call_that_hangs():
    brownout = Brownout()
    stop, orderly, took = threading.Event(), [], []

    def work():
        orderly.append(Worker(brownout.relay).run(stop))
        took.append(time.monotonic() - stopped_at)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        brownout.commit_for(0.1)
        brownout.wait_for("well")
        assert brownout.hanging.called.wait(30)
        stopped_at = time.monotonic()
        stop.set()
        thread.join(30)
        assert orderly == [False]
        assert STOP_SECONDS <= took[0] < STOP_SECONDS + 0.5
        cursor = brownout.database.log.cursor("hanging")
        assert (cursor.seq, cursor.failures) == (0, 0)
    finally:
        stop.set()
        brownout.hanging.released.set()


def test_what_a_stop_left_behind_comes_from_the_next_worker():
    brownout = Brownout()
    stop = threading.Event()
    thread = threading.Thread(target=Worker(brownout.relay).run, args=(stop,))
    thread.start()
    brownout.commit_for(0.1)
    assert brownout.hanging.called.wait(30)
    stop.set()
    thread.join(30)
    brownout.hanging.released.set()
    with brownout.running(Worker(Relay(brownout.database.log, brownout.sinks, settings=SETTINGS)).run):
        brownout.wait_for(*brownout.sinks)
    assert brownout.hanging.arrivals.keys() == brownout.committed.keys()
    assert all(seqs == sorted(seqs) for seqs in brownout.hanging.by_target.values())
