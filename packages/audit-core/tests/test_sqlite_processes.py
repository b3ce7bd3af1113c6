"""SQLite: two processes write while a third relays."""

import subprocess
import sys
from uuid import UUID

from audit_core.log import SEQUENCER
from audit_core.relay import Relay
from audit_core.sqlite import SqliteDatabase
from audit_core.storages.memory import MemoryStorage

ROUNDS, EVENTS_PER_ROUND = 200, 10

WRITER = """
import sys
from audit_core.sqlite import SqliteDatabase
from audit_core.testing import make_events

database, name, count = SqliteDatabase(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for go in sys.stdin:
    events = make_events(count)
    with database.transaction() as connection:
        rows = [(name, str(event.id)) for event in events]
        connection.executemany("INSERT INTO orders (writer, event_id) VALUES (?, ?)", rows)
        database.outbox.append(events)
    print("done", flush=True)
database.close()
"""


def test_two_processes_write_while_a_third_relays(tmp_path):
    database, storage = SqliteDatabase(tmp_path / "shop.db"), MemoryStorage()
    with database.transaction() as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, writer TEXT, event_id TEXT)")
    relay = Relay(database.log, {"archive": storage})
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, database.path, name, str(EVENTS_PER_ROUND)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    passes_that_moved = 0
    for _ in range(ROUNDS):
        for writer in writers:
            writer.stdin.write("go\n")
            writer.stdin.flush()
        report = relay.run_once()  # while both write
        assert not report.failures
        passes_that_moved += report.moved
        assert [writer.stdout.readline() for writer in writers] == ["done\n", "done\n"]
    for writer in writers:
        writer.communicate(timeout=60)
    assert [writer.returncode for writer in writers] == [0, 0]
    relay.run_once()

    total = 2 * ROUNDS * EVENTS_PER_ROUND
    assert passes_that_moved > ROUNDS / 2
    delivered = [recorded.id for recorded in storage.events]
    log = database.log.read(0, total + 1)
    assert [recorded.seq for recorded in log] == list(range(1, total + 1))
    assert database.log.cursor(SEQUENCER).seq == total
    assert [recorded.id for recorded in log] == delivered
    rows = database.connection.execute("SELECT event_id FROM orders ORDER BY id")
    assert [UUID(event_id) for (event_id,) in rows] == delivered  # the order of the commits
    database.close()
