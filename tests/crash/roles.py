"""What the processes do that are killed."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from django.db import connections, transaction
from tests.crash import witness
from tests.crash.sinks import Mood, sinks_in
from tests.crash.steps import Journal, Named, Steps, doing

from audit_core.log import SEQUENCER, TRIMMER
from audit_core.relay import Relay, RelaySettings, Report, State, Worker
from audit_django.log import DjangoLog

KILLING = RelaySettings(
    batch_size=10,
    batches_per_turn=3,
    lease_seconds=0.3,
    summary_budget_seconds=0.15,  # a lease on the summaries is at least twice as long
    backoff_base_seconds=0.02,
    backoff_cap_seconds=0.2,
    idle_min_seconds=0.01,
    idle_max_seconds=0.1,
)
RETRY_SECONDS = 0.1  # between two looks at what is parked
TRIM_SECONDS = 0.1
HELD_SECONDS = 0.05  # at most, a transaction stays open after it has taken its ids
PAUSE_SECONDS = 0.02  # at most, between two transactions of a writer


class RolledBack(Exception):
    """The writer has thought better of it."""


def work(
    folder: Path,
    steps: Steps,
    journal: Journal,
    mood: Mood,
    settings: RelaySettings,
    stop: threading.Event,
    *,
    alone: bool,
) -> None:
    """Run a worker over two sinks until ``stop`` is set, and now and then retry what is parked.

    ``alone``: in this one thread, so that no other one is stopped within a transaction with it.
    """
    log = Named(DjangoLog())
    relay = Relay(log, sinks_in(folder, steps, mood), settings=settings, probe=steps)

    def report(done: Report) -> None:
        for stage in done.stages.values():
            if stage.state in (State.BROKEN, State.LOST):
                journal.write(stage.state, f"{stage.name}: {stage.error}")

    def retry() -> None:
        try:
            for sink in log.parked_counts():
                relay.retry(sink, stop)
        except Exception as error:
            journal.write(State.BROKEN, f"retry: {error!r}")

    def keep_retrying() -> None:
        while not stop.wait(RETRY_SECONDS):
            retry()
        connections.close_all()

    if alone:
        while not stop.wait(settings.idle_min_seconds):
            report(relay.run_once(stop, budget_seconds=RETRY_SECONDS))
            retry()
        return
    thread = threading.Thread(target=keep_retrying, daemon=True)
    thread.start()
    Worker(relay, release_connections=connections.close_all, on_report=report).run(stop)
    thread.join(settings.stop_seconds)


def write(chance: random.Random, stop: threading.Event) -> None:
    """Commit small transactions until ``stop`` is set: some are rolled back, some stay open for a while."""
    while not stop.wait(chance.uniform(0, PAUSE_SECONDS)):
        try:
            with doing("write"), transaction.atomic():
                # In one order, so that two writers never wait for each other.
                for target in sorted(chance.sample(witness.TARGETS, chance.choice([1, 1, 2, 3]))):
                    for _ in range(chance.choice([1, 1, 2])):
                        witness.write_event(target)
                if chance.random() < 0.2:
                    time.sleep(chance.uniform(0, HELD_SECONDS))
                if chance.random() < 0.15:
                    raise RolledBack
        except RolledBack:
            pass


def trim(owner: str, stop: threading.Event) -> None:
    """Give up the texts of all that every sink has, again and again until ``stop`` is set."""
    log = Named(DjangoLog())
    while not stop.wait(TRIM_SECONDS):
        if lease := log.acquire(TRIMMER, owner, KILLING.lease_seconds):
            log.trim(lease, log.cursor(SEQUENCER).seq)
            log.release(lease)
