"""SQLite: the program's rows and its events stand and fall together; threads, forks, and files that are none of ours."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from audit_core.errors import ConfigurationError
from audit_core.log import SEQUENCER
from audit_core.sqlite import SqliteDatabase, append
from audit_core.testing import make_event, make_events


@pytest.fixture
def database(tmp_path):
    database = SqliteDatabase(tmp_path / "shop.db")
    with database.transaction() as connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT NOT NULL)")
    yield database
    database.close()


def orders(database):
    return [status for (status,) in database.connection.execute("SELECT status FROM orders ORDER BY id")]


def sequence(database):
    lease = database.log.acquire(SEQUENCER, "test", 30)
    database.log.sequence(lease, 100)
    database.log.release(lease)
    return [recorded.id for recorded in database.log.read(0, 100)]


# transactions


def test_rows_and_events_are_committed_together(database):
    event = make_event()
    with database.transaction() as connection:
        connection.execute("INSERT INTO orders (status) VALUES ('new')")
        database.outbox.append([event])
    assert (orders(database), sequence(database)) == (["new"], [event.id])


def test_rows_and_events_are_rolled_back_together(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("INSERT INTO orders (status) VALUES ('new')")
        database.outbox.append([make_event()])
        _ = 1 / 0
    assert (orders(database), sequence(database)) == ([], [])
    assert not database.connection.in_transaction


def test_an_event_that_cannot_be_kept_takes_the_rows_with_it(database):
    event = make_event()
    database.outbox.append([event])
    with pytest.raises(sqlite3.IntegrityError), database.transaction() as connection:
        connection.execute("INSERT INTO orders (status) VALUES ('new')")
        database.outbox.append([event])
    assert orders(database) == []


def test_a_savepoint_takes_its_own_rows_and_events_back(database):
    first, last = make_event(), make_event()
    with database.transaction() as connection:
        connection.execute("INSERT INTO orders (status) VALUES ('first')")
        database.outbox.append([first])
        with pytest.raises(ZeroDivisionError), database.transaction():
            connection.execute("INSERT INTO orders (status) VALUES ('lost')")
            with database.transaction():
                database.outbox.append([make_event()])
            _ = 1 / 0
        connection.execute("INSERT INTO orders (status) VALUES ('last')")
        database.outbox.append([last])
    assert (orders(database), sequence(database)) == (["first", "last"], [first.id, last.id])


def test_a_refused_append_leaves_nothing_behind_in_a_transaction_that_goes_on(database):
    known, new = make_event(), make_event()
    database.outbox.append([known])
    with database.transaction() as connection:
        with pytest.raises(sqlite3.IntegrityError):
            database.outbox.append([new, known])
        connection.execute("INSERT INTO orders (status) VALUES ('new')")
    assert orders(database) == ["new"]
    [(events,)] = database.connection.execute("SELECT count(*) FROM audit_event")
    assert events == 1
    assert sequence(database) == [known.id]


def test_a_transaction_that_sqlite_rolled_back_says_so(database):
    with pytest.raises(sqlite3.OperationalError, match="no transaction is active"), database.transaction():
        database.outbox.append([make_event()])
        with pytest.raises(ZeroDivisionError), database.transaction() as connection:
            connection.execute("ROLLBACK")  # what SQLite does by itself when the disk is full
            _ = 1 / 0
    assert sequence(database) == []


def test_the_first_error_is_the_one_that_is_told(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("ROLLBACK")  # what SQLite does by itself when the disk is full
        _ = 1 / 0


def test_the_program_may_want_rows_of_its_own_kind(database):
    database.connection.row_factory = lambda cursor, row: {"value": row[0]}
    event = make_event()
    database.outbox.append([event])
    assert database.outbox.waiting().oldest == event.event.occurred_at
    assert sequence(database) == [event.id]
    assert database.log.cursor(SEQUENCER).seq == 1


# a connection of the program's own


def test_events_go_with_a_transaction_of_the_program_s_own_connection(database):
    kept = make_event()
    own = sqlite3.connect(database.path)
    try:
        own.execute("INSERT INTO orders (status) VALUES ('new')")
        append(own, [kept])
        own.commit()
        own.execute("INSERT INTO orders (status) VALUES ('lost')")
        append(own, [make_event()])
        own.rollback()
    finally:
        own.close()
    assert (orders(database), sequence(database)) == (["new"], [kept.id])


def test_a_refused_append_leaves_nothing_in_a_transaction_of_the_program_s_own(database):
    known, new = make_event(), make_event()
    database.outbox.append([known])
    own = sqlite3.connect(database.path)
    try:
        own.execute("INSERT INTO orders (status) VALUES ('new')")
        with pytest.raises(sqlite3.IntegrityError):
            append(own, [new, known])
        own.commit()
    finally:
        own.close()
    assert orders(database) == ["new"]
    [(events,)] = database.connection.execute("SELECT count(*) FROM audit_event")
    assert events == 1


def test_without_a_transaction_there_is_nothing_to_go_with(database):
    own = sqlite3.connect(database.path)
    try:
        with pytest.raises(ValueError, match="Execute BEGIN first"):
            append(own, [make_event()])
    finally:
        own.close()
    assert database.outbox.waiting().count == 0


# the log


def test_sequencing_none_moves_none(database):
    event = make_event()
    database.outbox.append([event])
    assert database.log.sequence(database.log.acquire(SEQUENCER, "test", 30), 0) == 0
    assert sequence(database) == [event.id]


def test_events_are_found_by_id_in_the_order_of_the_log(database):
    events = make_events(20)
    database.outbox.append(events)
    sequence(database)
    wanted = [event.id for event in events]
    assert [event.id for event in database.log.get(sorted(wanted, key=hash))] == wanted


# threads and processes


def in_thread(database, function):
    """What ``function`` returns in a thread of its own, which closes its connection."""
    results = []

    def run():
        try:
            results.append(function())
        finally:
            database.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert results, "the thread failed"
    return results[0]


def test_each_thread_has_a_connection_until_it_closes_it(database):
    mine = database.connection
    other = in_thread(database, lambda: database.connection)
    assert other is not mine
    assert database.connection is mine
    database.close()
    database.close()
    assert database.connection is not mine
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        mine.execute("SELECT 1")


def test_a_reader_neither_sees_nor_waits_for_an_open_transaction(database):
    with database.transaction():
        database.outbox.append([make_event()])
        seen = in_thread(database, lambda: (database.outbox.waiting().count, database.log.unsequenced()))
        assert seen == (0, False)
    assert database.log.unsequenced()


def test_two_threads_write_by_turns(database):
    start = threading.Barrier(2)

    def write():
        start.wait(30)
        for event in make_events(50):
            with database.transaction() as connection:
                connection.execute("INSERT INTO orders (status) VALUES ('new')")
                database.outbox.append([event])
        database.close()

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(orders(database)) == len(sequence(database)) == 100


FORK = """
import os, sys
from audit_core.sqlite import SqliteDatabase
from audit_core.testing import make_event

database = SqliteDatabase(sys.argv[1])
with database.transaction() as inherited:
    database.outbox.append([make_event()])
    child = os.fork()
    if child == 0:
        database.close()  # not the parent's
        assert inherited.in_transaction
        fresh = database.connection is not inherited and not database.connection.in_transaction
        os._exit(0 if fresh and database.outbox.waiting().count == 0 else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    database.outbox.append([make_event()])
database.outbox.append([make_event()])
database.close()
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_opens_a_connection_of_its_own(database):
    subprocess.run([sys.executable, "-c", FORK, database.path], check=True, timeout=60)
    assert len(sequence(database)) == 3
    assert list(database.connection.execute("PRAGMA integrity_check")) == [("ok",)]


# the file


def test_the_tables_are_made_once(database):
    database.outbox.append([make_event()])
    database.setup()
    again = SqliteDatabase(database.path)
    again.setup()
    assert again.outbox.waiting().count == 1
    again.close()


def test_what_is_committed_survives_a_loss_of_power(database):
    [(mode,)] = database.connection.execute("PRAGMA journal_mode")
    [(synchronous,)] = database.connection.execute("PRAGMA synchronous")
    assert (mode, synchronous) == ("wal", 2)  # 2: FULL


def test_processes_that_make_the_file_at_once_wait_for_each_other(tmp_path):
    program = (
        "import sys\n"
        "from audit_core.sqlite import SqliteDatabase\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for number in range(20):\n"
        "    SqliteDatabase(f'{sys.argv[1]}/{number}.db').setup()\n"
    )
    arguments = [sys.executable, "-c", program, tmp_path]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(arguments, **pipes) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0, 0, 0]


def test_a_writer_in_another_journal_mode_is_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "shop.db"
    rival = sqlite3.connect(path)
    rival.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("audit_core.sqlite.connection.time.sleep", lambda seconds: rival.commit())
    database = SqliteDatabase(path)
    database.setup()
    database.close()
    rival.close()


def test_a_relative_path_is_that_of_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = SqliteDatabase("audit.db")
    monkeypatch.chdir("/")
    database.setup()
    database.close()
    assert (tmp_path / "audit.db").exists()


def test_an_older_sqlite_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.34.1")
    with pytest.raises(ConfigurationError, match=r"3\.35 or newer.*3\.34\.1\. Upgrade"):
        SqliteDatabase(tmp_path / "audit.db")


def test_tables_of_a_newer_version_are_refused(database):
    with database.transaction() as connection:
        connection.execute("INSERT INTO audit_schema VALUES (2)")
    database.close()
    with pytest.raises(ConfigurationError, match="Upgrade audit-core"):
        database.setup()


@pytest.mark.parametrize("name", ["", ":memory:"])
def test_a_database_without_a_file_is_refused(name):
    with pytest.raises(ConfigurationError, match="Name a file"):
        SqliteDatabase(name)


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 500)
    with pytest.raises(ConfigurationError, match="letter.txt cannot hold the audit trail: file is not"):
        SqliteDatabase(path).setup()


def test_a_damaged_file_is_named(database):
    database.close()
    with open(database.path, "r+b") as file:
        file.seek(100)  # behind the header: the page of the schema
        file.write(b"\xff" * 3996)
    with pytest.raises(ConfigurationError, match=r"shop.db cannot hold .* malformed"):
        database.setup()


def test_a_place_where_no_file_can_be_made_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere.*unable to open"):
        SqliteDatabase(tmp_path / "nowhere" / "audit.db").setup()


@pytest.fixture
def no_root():
    """Be somebody who may not write to every file."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder():
    """A folder that everybody can look into; those of pytest are for their owner alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_file_that_may_not_be_written_is_named(open_folder, request):
    path = open_folder / "shop.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE orders (id INTEGER)")
    connection.close()
    path.chmod(0o444)
    request.getfixturevalue("no_root")
    with pytest.raises(ConfigurationError, match=r"shop.db cannot hold .* readonly"):
        SqliteDatabase(path).setup()
