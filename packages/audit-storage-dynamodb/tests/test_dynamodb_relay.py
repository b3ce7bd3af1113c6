"""The relay delivers to a DynamoDB in trouble: each event is there once, in order, whatever happens."""

import random

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from audit_core.memory import MemoryDatabase
from audit_core.query import EventQuery
from audit_core.relay import Relay, RelaySettings
from audit_core.testing import VirtualClock, make_events

pytestmark = pytest.mark.integration


def test_each_event_is_stored_once(storage, faults):
    chance = random.Random(6)
    seen = {"cut": 0, "lost": 0, "throttled": 0}

    def cut():
        if chance.random() < 0.1:
            seen["cut"] += 1
            return EndpointConnectionError(endpoint_url="the server was restarted")
        return None

    def spoil(parsed):
        fate = chance.random()
        if fate < 0.1:
            seen["lost"] += 1
            raise ReadTimeoutError(endpoint_url="the answer never came")
        if fate < 0.3:
            seen["throttled"] += 1
            for result in parsed["Responses"][:: chance.randint(1, 3)]:
                result["Error"] = {"Code": "ThrottlingError", "Message": "slow down"}

    clock = VirtualClock()
    database = MemoryDatabase(clock)
    events = make_events(600)
    database.outbox.append(events)
    relay = Relay(
        database.log,
        {"archive": storage},
        settings=RelaySettings(batch_size=100, batches_per_turn=2),
        monotonic=clock.monotonic,
    )
    with (
        faults.answer(storage, "BatchExecuteStatement", cut),
        faults.change_response(storage, "BatchExecuteStatement", spoil),
    ):
        for _ in range(200):
            relay.run_once()
            clock.advance(120)
    assert all(seen.values())
    cursor = {cursor.name: cursor.seq for cursor in database.log.cursors()}
    assert cursor["archive"] == 600
    assert database.log.parked("archive") == []

    kept = storage.search(EventQuery(limit=1000)).events
    assert sorted(event.seq for event in kept) == list(range(1, 601))
    assert {event.id: event.text for event in kept} == {event.id: event.text for event in events}
    assert all(event.summary for event in kept)
    history = storage.search(EventQuery(target_types=["policies.Policy"], target_id="2", limit=1000)).events
    assert [event.seq for event in history] == list(range(599, 0, -3))
