"""The JSON Lines storage: the contract, and what a file can suffer."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading

import pytest

from audit_core.errors import ConfigurationError, RetryableError
from audit_core.storages import jsonl
from audit_core.storages.jsonl import JsonLinesStorage
from audit_core.testing import StorageContract, make_event, make_events


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.fixture
def storage(path):
    return JsonLinesStorage(path)


class TestJsonLinesStorage(StorageContract):
    @pytest.fixture
    def storage(self, path):
        return JsonLinesStorage(path)


class TestJsonLinesStorageOpenedAnew(StorageContract):
    """Every write by a storage that has to read the file first, as after a restart."""

    @pytest.fixture
    def storage(self, path):
        class Anew(JsonLinesStorage):
            def write(self, events):
                JsonLinesStorage(self.path).write(events)

        return Anew(path)


def ids(storage):
    return [event.id for event in storage.read()]


def test_a_line_is_the_events_own_text_with_seq_and_summary_at_its_end(storage, path):
    event = make_event(seq=7, summary="Alice changed “it”.\nTwice.")
    storage.write([event])
    line = path.read_bytes()
    assert line.startswith(event.text[:-1].encode())
    assert line.endswith(b"}\n")
    assert json.loads(line) == {**json.loads(event.text), "seq": 7, "summary": "Alice changed “it”.\nTwice."}


def test_a_text_that_looks_like_the_end_of_a_line_is_not_one(storage):
    events = [
        make_event(reason=f'a{odd}b","seq":9}}', seq=n) for n, odd in enumerate("\n\r\u2028\u2029\x85\x0b")
    ]
    storage.write(events)
    assert list(storage.read()) == events


def test_the_file_is_for_its_owner_only(storage, path):
    storage.write(make_events(1))
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("cut", [1, 2, 40, 100])
def test_a_line_that_was_cut_off_by_a_crash_is_written_anew(path, storage, caplog, cut):
    events = make_events(3, first_seq=1)
    storage.write(events)
    os.truncate(path, path.stat().st_size - cut)
    assert ids(storage) == [event.id for event in events[:2]]  # a reader passes over it
    restarted = JsonLinesStorage(path)
    with caplog.at_level(logging.WARNING):
        restarted.write(events)
    assert list(restarted.read()) == events
    assert "after the last whole line" in caplog.text
    storage.write(events)  # the one that remembers a longer file sees that it is shorter
    assert list(storage.read()) == events


def test_a_tail_of_zeros_after_a_power_failure_is_cut_off(path, storage):
    events = make_events(2)
    storage.write(events[:1])
    with path.open("ab") as file:
        file.write(b"\x00" * 5000)
    JsonLinesStorage(path).write(events)
    assert ids(storage) == [event.id for event in events]


@pytest.mark.parametrize("line", [b"not json\n", b"{}\n", b"[]\n", b'{"id": 7}\n', b"\n", b"\xff\n"])
def test_a_damaged_line_is_named_and_nothing_is_written_after_it(path, storage, line):
    storage.write(make_events(1))
    with path.open("ab") as file:
        file.write(line)
    before = path.read_bytes()
    for other in (storage, JsonLinesStorage(path)):
        with pytest.raises(ConfigurationError, match=r"Line 2 of .*audit.jsonl is no event.*Move it away"):
            other.write(make_events(1))
        [problem] = other.check()
        assert "Line 2 of" in problem
    with pytest.raises(ConfigurationError, match="Line 2"):
        list(storage.read())
    assert path.read_bytes() == before


def test_two_storages_on_one_file_know_what_the_other_has_written(path, storage):
    other = JsonLinesStorage(path)
    events = make_events(4)
    storage.write(events[:2])
    other.write(events[1:3])
    storage.write(events)
    assert ids(other) == [event.id for event in events]


def test_processes_that_write_at_once_mix_no_lines(path):
    program = (
        "import sys\n"
        "from audit_core.storages.jsonl import JsonLinesStorage\n"
        "from audit_core.testing import make_events\n"
        "storage = JsonLinesStorage(sys.argv[1], lock_timeout_seconds=60)\n"
        "for _ in range(20):\n"
        "    storage.write(make_events(5, reason='x' * 3000))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, path]) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(set(ids(JsonLinesStorage(path)))) == 3 * 20 * 5


def test_a_writer_that_is_killed_leaves_a_file_that_goes_on(path):
    program = (
        "import os, signal, sys\n"
        "from audit_core.storages import jsonl\n"
        "from audit_core.testing import make_events\n"
        "def half(fd, data):\n"
        "    os.write(fd, data[:len(data) // 2])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "jsonl._write_all = half\n"
        "jsonl.JsonLinesStorage(sys.argv[1]).write(make_events(3))\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, path], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert path.stat().st_size > 0
    storage = JsonLinesStorage(path)
    events = make_events(2)
    storage.write(events)
    assert ids(storage)[-2:] == [event.id for event in events]
    assert JsonLinesStorage(path).check() == []


def test_a_locked_file_is_waited_for_and_then_given_up(path, storage):
    storage.write(make_events(1))
    hasty = JsonLinesStorage(path, lock_timeout_seconds=0.05)
    with storage._locked():
        with pytest.raises(RetryableError, match="locked"):
            hasty.write(make_events(1))
        patient = threading.Thread(target=JsonLinesStorage(path).write, args=[make_events(1)])
        patient.start()
    patient.join(10)
    assert len(ids(storage)) == 2


def test_a_full_disk_leaves_nothing_behind(path, storage, monkeypatch):
    events = make_events(3)
    storage.write(events[:1])
    size = path.stat().st_size

    def full(fd, data):
        os.write(fd, data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(jsonl, "_write_all", full)
        with pytest.raises(RetryableError, match="No space left on device"):
            storage.write(events)
    assert path.stat().st_size == size
    storage.write(events)
    assert ids(storage) == [event.id for event in events]


def test_what_a_failed_fsync_may_have_lost_is_written_again(path, storage, monkeypatch):
    events = make_events(2)
    storage.write(events[:1])
    size = path.stat().st_size

    def fail(fd):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RetryableError, match="Input/output error"):
            storage.write(events)
    assert path.stat().st_size == size
    storage.write(events)
    assert ids(storage) == [event.id for event in events]


def test_even_a_batch_that_is_known_is_synced(storage, monkeypatch):
    events = make_events(1)
    storage.write(events)
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    storage.write(events)
    assert len(synced) == 1


def test_a_file_that_was_moved_away_is_begun_anew(path, storage):
    events = make_events(2)
    storage.write(events)
    path.rename(path.with_suffix(".old"))
    storage.write(events[1:])
    assert ids(storage) == [events[1].id]


def test_a_folder_that_is_missing_is_named_and_made_by_setup(tmp_path):
    storage = JsonLinesStorage(tmp_path / "a" / "b" / "audit.jsonl")
    [problem] = storage.check()
    assert "Create the folder" in problem
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        storage.write(make_events(1))
    storage.setup()
    assert storage.check() == []
    storage.write(make_events(1))
    assert len(ids(storage)) == 1


def test_a_check_creates_no_file(path, storage):
    assert storage.check() == []
    assert not path.exists()


def test_windows_is_told_why_it_cannot(path, monkeypatch):
    monkeypatch.setattr(jsonl, "fcntl", None)
    with pytest.raises(ConfigurationError, match="Windows"):
        JsonLinesStorage(path)
