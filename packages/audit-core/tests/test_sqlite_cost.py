"""SQLite: what a statement of the log costs does not grow with what is there.

Counted in instructions of SQLite's virtual machine, not in seconds.
"""

import re

import pytest

from audit_core.log import SEQUENCER
from audit_core.sqlite import SqliteDatabase
from audit_core.testing import make_events

FEW, MANY = 40, 4000


def database_with(path, *, waiting=0, in_log=0, analyzed=False):
    database = SqliteDatabase(path)
    lease = database.log.acquire(SEQUENCER, "test", 30)
    database.outbox.append(make_events(in_log))
    database.log.sequence(lease, in_log)
    database.outbox.append(make_events(waiting))
    if analyzed:
        database.connection.execute("ANALYZE")
    return database, lease


def steps(database, function):
    """How many instructions the statements of ``function`` take."""
    taken = 0

    def count():
        nonlocal taken
        taken += 1

    database.connection.set_progress_handler(count, 1)
    try:
        function()
    finally:
        database.connection.set_progress_handler(None, 1)
    return taken


def plans(database, function):
    """The query plan of every statement of ``function`` that reads or writes a table."""
    statements = []
    database.connection.set_trace_callback(statements.append)
    try:
        function()
    finally:
        database.connection.set_trace_callback(None)
    found = []
    for statement in statements:
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE)", statement):
            plan = database.connection.execute(f"EXPLAIN QUERY PLAN {statement}")
            found += [detail for *_, detail in plan]
    assert found
    return found


CALLS = {
    "sequence": lambda log, lease: log.sequence(lease, 10),
    "read": lambda log, lease: log.read(20, 10),
    "get": lambda log, lease: log.get([event.id for event in log.read(20, 3)]),
    "cursor": lambda log, lease: log.cursor(SEQUENCER),
    "advance": lambda log, lease: log.advance(lease, lease.epoch),
    "fail": lambda log, lease: log.fail(lease, "down", 1),
    "release": lambda log, lease: log.release(lease),
}


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_no_statement_walks_a_table_or_sorts(tmp_path, name, analyzed):
    database, lease = database_with(tmp_path / "audit.db", waiting=FEW, in_log=FEW, analyzed=analyzed)
    for detail in plans(database, lambda: CALLS[name](database.log, lease)):
        assert "TEMP B-TREE" not in detail
        # The outbox is walked from its start to the LIMIT, and "(subquery-1)" is that walk.
        assert re.match(r"SCAN (?!audit_outbox$|\(subquery-\d+\)$)", detail) is None, detail
    database.close()


@pytest.mark.parametrize("name", ["sequence", "read", "get"])
def test_the_cost_does_not_grow_with_what_is_there(tmp_path, name):
    costs = []
    for count in (FEW, MANY):
        database, lease = database_with(tmp_path / f"{count}.db", waiting=count, in_log=count)
        costs.append(steps(database, lambda lease=lease, log=database.log: CALLS[name](log, lease)))
        database.close()
    few, many = costs
    assert 0 < many < 1.5 * few
