"""What is done with storages by the command: pruning, compacting, verifying, restoring."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

pytest.importorskip("typer", reason="needs the extra audit-core[cli]")

from typer.testing import CliRunner

from audit_core.cli.app import app
from audit_core.errors import AuditError, PartialWrite, PermanentError, RetryableError
from audit_core.operate.standalone import StandaloneTrail
from audit_core.sqlite import SqliteDatabase
from audit_core.storages.contract import Compacted
from audit_core.storages.memory import MemoryStorage
from audit_core.testing import make_event

DAY = datetime(2026, 3, 3, 12, tzinfo=UTC)
MADE = {}


class Plain:
    """A storage that can do nothing else."""

    def write(self, events): ...


class Archive(MemoryStorage):
    """An archive of three objects that would become one, and remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.problems = []

    def compact(self, *, since, until, target_bytes, dry_run=False, progress=lambda objects: None):
        self.asked.append((since, until, target_bytes, dry_run))
        for _ in range(0 if dry_run else 3):
            progress(1)
        return Compacted(days=2, objects=3, size_bytes=4_500_000, into=1)

    def verify(self, *, since, until, progress):
        self.asked.append((since, until))
        progress(2)
        progress(3)
        return self.problems


class Picky(MemoryStorage):
    """Refuses what is said to be ``bad`` alone, and a batch with something ``awful`` in it as a whole."""

    def write(self, events):
        if awful := [event for event in events if event.event.reason == "awful"]:
            raise PermanentError(f"{len(events)} events with {len(awful)} awful")
        bad = {event.id: "it is bad" for event in events if event.event.reason == "bad"}
        super().write([event for event in events if event.id not in bad])
        if bad:
            raise PartialWrite(bad)


class Large(MemoryStorage):
    """Likes batches of a size of its own."""

    batch_size = 4
    flush_interval_seconds = 60.0

    def __init__(self):
        super().__init__()
        self.batches = []

    def write(self, events):
        self.batches.append(len(events))
        super().write(events)


class Failing(Archive):
    """Finds what is old, and cannot go on."""

    def prune(self, before, *, dry_run=False):
        if dry_run:
            return 2
        raise RetryableError("The store is away for a moment. Try again.")

    def read(self, *, since, until, tenants):
        yield make_event()
        raise AuditError("An object is damaged. Take an older version.")


def kept(kind):
    """The storage of a configuration, the same for each command of a test."""
    if kind not in MADE:
        MADE[kind] = {
            "plain": Plain, "archive": Archive, "memory": MemoryStorage, "picky": Picky, "large": Large, "failing": Failing,
        }[kind]()  # fmt: skip
    return MADE[kind]


@pytest.fixture(autouse=True)
def configuration(tmp_path, monkeypatch):
    MADE.clear()
    monkeypatch.chdir(tmp_path)
    storages = [
        f'[storages.{kind}]\nbackend = "{__name__}.kept"\noptions = {{ kind = "{kind}" }}\n'
        for kind in ("plain", "archive", "memory", "picky", "large", "failing")
    ]
    (tmp_path / "audit.toml").write_text("".join(storages))


@pytest.fixture
def recorded():
    """The events that wait in the outbox."""
    database = SqliteDatabase("audit.sqlite3")

    def recorded():
        lease = database.log.acquire("log", "test", ttl_seconds=60)
        database.log.sequence(lease, limit=100)
        database.log.release(lease)
        return [event.event for event in database.log.read(0, 100)]

    yield recorded
    database.close()


def audit(*arguments, **options):
    return CliRunner().invoke(app, ["storages", *arguments], **options)


def fill(kind, *, days=3):
    """Four events a day from DAY on, of the tenants a and b in turn."""
    events = [
        make_event(occurred_at=DAY + timedelta(days=n // 4), seq=n + 1, tenant="ab"[n % 2])
        for n in range(days * 4)
    ]
    kept(kind).write(events)
    return events


# list


def test_each_storage_is_listed_with_what_it_can_do():
    finished = audit("list")
    assert finished.exit_code == 0, finished.output
    header, *lines = [line.split() for line in finished.stdout.splitlines()]
    assert header == ["storage", "search", "prune", "compact", "verify", "read", "back", "problem"]
    assert ["plain", "–", "–", "–", "–", "–"] in lines
    assert ["memory", "yes", "yes", "–", "–", "yes"] in lines
    assert ["archive", "yes", "yes", "yes", "yes", "yes"] in lines


def test_a_storage_that_cannot_be_made_does_not_hide_the_others(tmp_path):
    with (tmp_path / "audit.toml").open("a") as file:
        file.write('[storages.broken]\nbackend = "memorie"\n')
    finished = audit("list", "--json")
    assert finished.exit_code == 1
    found = {one["name"]: one for one in json.loads(finished.stdout)}
    assert found["memory"] == {
        "name": "memory",
        "abilities": ["search", "prune", "read back"],
        "problem": None,
    }
    assert found["broken"]["abilities"] == []
    assert "There is no storage 'memorie'. Did you mean 'memory'?" in found["broken"]["problem"]
    assert "these can: archive, failing." in audit("compact", "memory").stderr


# what cannot be done


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prune", "plain", "--before", "2026-01-01", "--dry-run"], "'plain' cannot prune; these can: archive, memory"),
        (["compact", "memory"], "The storage 'memory' cannot compact; these can: archive, failing."),
        (["verify", "memory"], "The storage 'memory' cannot verify; these can: archive, failing."),
        (["restore", "plain", "memory"], "'plain' cannot read back; these can: archive, memory"),
        (["restore", "memory", "archiv"], "There is no storage 'archiv'. Did you mean 'archive'?"),
        (["verify", "nothing-like-it"], "There is no storage 'nothing-like-it'. The storages are: plain, archive"),
        (["restore", "memory", "memory"], "'memory' has its events already"),
        (["prune", "memory", "--before", "2026-01-01"], "say why"),
        (["prune", "memory", "--before", "2026-01-01", "--reason", " "], "say why"),
        (["compact", "archive", "--since", "2026-03-04", "--until", "2026-03-03"], "no day is between"),
        (["verify", "archive", "--since", "2026-03-04", "--until", "2026-03-03"], "no day is between"),
        (["restore", "archive", "memory", "--since", "2026-03-04", "--until", "2026-03-03"], "no day is between"),
        (["compact", "archive", "--since", "2026-03-04T10:00:00"], "--since"),
        (["compact", "archive", "--target-mb", "0"], "--target-mb"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_sentence_and_exit_code_2(arguments, words):
    finished = audit(*arguments, env={"COLUMNS": "200"})
    assert finished.exit_code == 2
    assert words in " ".join(finished.stderr.split())
    assert kept("archive").asked == []


def test_where_no_storage_can_it_is_said(tmp_path):
    (tmp_path / "audit.toml").write_text('[storages.memory]\nbackend = "memory"\n')
    assert "'memory' cannot verify; no storage in the settings can." in audit("verify", "memory").stderr


# prune


def test_a_dry_run_counts_and_leaves_everything(recorded):
    events = fill("archive")
    finished = audit("prune", "archive", "--before", "2026-03-05", "--dry-run")
    assert (finished.exit_code, finished.stdout) == (0, "archive: 8 events would be removed.\n")
    assert kept("archive").events == events
    assert recorded() == []


def test_it_asks_before_it_removes(recorded):
    events = fill("archive")
    arguments = ["prune", "archive", "--before", "2026-03-05T00:00:00", "--reason", "two days"]
    for answer in ("", "n\n"):
        finished = audit(*arguments, input=answer)
        assert "Remove 8 event(s) from 'archive' for good?" in finished.stdout
        assert finished.exit_code == 1
    assert kept("archive").events == events
    assert recorded() == []
    assert audit(*arguments, input="y\n").exit_code == 0
    assert kept("archive").events == events[8:]


def test_what_was_removed_is_on_the_record(recorded):
    events = fill("archive")
    finished = audit("prune", "archive", "--before", "2026-03-04", "--reason", "a day", "--yes")
    assert finished.exit_code == 0, finished.output
    assert finished.stdout == "archive: 4 events were removed, and that recorded.\n"
    assert kept("archive").events == events[4:]
    [event] = recorded()
    assert (event.category, event.action, event.reason) == ("system", "prune", "a day")
    assert (event.actor.type, event.target) == ("operator", None)
    what = {"storage": "archive", "before": "2026-03-04T00:00:00.000000Z", "events": 4}
    assert event.extra == what


def test_what_cannot_be_recorded_is_not_removed(monkeypatch):
    events = fill("archive")

    def fail(*_):
        raise RetryableError("The database is away.")

    monkeypatch.setattr(StandaloneTrail, "record", fail)
    finished = audit("prune", "archive", "--before", "2026-03-05", "--reason", "x", "--yes")
    assert (finished.exit_code, finished.stderr) == (1, "Error: The database is away.\n")
    assert kept("archive").events == events


def test_a_removal_that_fails_on_its_way_is_on_the_record_too(recorded):
    finished = audit("prune", "failing", "--before", "2026-03-05", "--reason", "x", "--yes")
    assert finished.exit_code == 1
    assert finished.stderr == "Error: The store is away for a moment. Try again.\n"
    assert [event.action for event in recorded()] == ["prune"]


def test_nothing_to_remove_is_nothing_to_record(recorded):
    fill("archive")
    finished = audit("prune", "archive", "--before", "2026-03-03", "--reason", "x")
    assert (finished.exit_code, finished.stdout) == (0, "archive: there is nothing to remove.\n")
    assert recorded() == []


# compact


def test_a_dry_run_says_what_would_be_compacted():
    finished = audit("compact", "archive", "--dry-run")
    assert finished.exit_code == 0, finished.output
    assert finished.stdout == "archive: 3 objects (4.5 MB) of 2 day(s) would become 1.\n"
    assert kept("archive").asked == [(None, None, None, True)]


def test_days_and_size_are_handed_on():
    days = ["--since", "2026-03-01", "--until", "2026-03-31"]
    finished = audit("compact", "archive", *days, "--target-mb", "2")
    assert (finished.exit_code, finished.stdout) == (0, "archive: 3 objects (4.5 MB) of 2 day(s) became 1.\n")
    asked = (date(2026, 3, 1), date(2026, 3, 31), 2 * 1024 * 1024)
    assert kept("archive").asked == [(*asked, True), (*asked, False)]


def test_a_terminal_sees_how_far_it_is():
    terminal = {"FORCE_COLOR": "1", "COLUMNS": "80"}
    fill("archive")
    assert "100%" in audit("compact", "archive", env=terminal).stdout
    assert "5 objects" in audit("verify", "archive", env=terminal).stdout
    assert "12 events" in audit("restore", "archive", "memory", env=terminal).stdout


# verify


def test_what_is_intact_exits_with_0():
    finished = audit("verify", "archive", "--since", "2026-03-01", "--until", "2026-03-31")
    assert (finished.exit_code, finished.stdout) == (0, "archive: 5 objects were read, 0 problem(s) found.\n")
    assert kept("archive").asked == [(date(2026, 3, 1), date(2026, 3, 31))]


def test_what_differs_is_printed_and_exits_with_1():
    kept("archive").problems = ["a.gz is missing.", "b.gz was [bold]changed[/bold]."]
    finished = audit("verify", "archive")
    assert finished.exit_code == 1
    *problems, last = finished.stdout.splitlines()
    assert problems == ["a.gz is missing.", "b.gz was [bold]changed[/bold]."]
    assert last == "archive: 5 objects were read, 2 problem(s) found."


# restore


def test_everything_is_read_back_once():
    events = fill("archive")
    for _ in range(2):
        finished = audit("restore", "archive", "memory")
        assert finished.exit_code == 0, finished.output
        assert finished.stdout == "archive: 12 events were restored into memory.\n"
        assert kept("memory").events == events


@pytest.mark.parametrize(
    ("options", "seqs"),
    [
        (["--since", "2026-03-04"], [5, 6, 7, 8, 9, 10, 11, 12]),
        (["--until", "2026-03-03"], [1, 2, 3, 4]),
        (["--since", "2026-03-04", "--until", "2026-03-04", "--tenant", "a"], [5, 7]),
        (["--tenant", "b", "--tenant", "nobody"], [2, 4, 6, 8, 10, 12]),
    ],
)
def test_a_range_is_read_back(options, seqs):
    fill("archive")
    assert audit("restore", "archive", "memory", *options).exit_code == 0
    assert [event.seq for event in kept("memory").events] == seqs


def test_a_dry_run_reads_and_writes_nothing():
    fill("archive")
    finished = audit("restore", "archive", "memory", "--dry-run", "--tenant", "a")
    assert finished.exit_code == 0
    assert finished.stdout == "archive: 6 events were read, and would be restored into memory.\n"
    assert len(kept("memory")) == 0


def test_a_storage_is_given_batches_as_it_likes_them():
    fill("archive")
    kept("archive").write([make_event()])
    audit("restore", "archive", "large")
    assert kept("large").batches == [4, 4, 4, 1]


@pytest.mark.parametrize("awful", [[], [7], [3, 4]])
def test_what_is_refused_for_good_is_named_and_the_rest_restored(awful):
    reasons = {**dict.fromkeys([2, 9], "bad"), **dict.fromkeys(awful, "awful")}
    events = [make_event(seq=n, reason=reasons.get(n)) for n in range(1, 12)]
    kept("archive").write(events)
    finished = audit("restore", "archive", "picky")
    assert finished.exit_code == 1
    assert f"archive: {11 - len(reasons)} events were restored into picky." in finished.stdout
    assert [event.seq for event in kept("picky").events] == [n for n in range(1, 12) if n not in reasons]
    assert f"picky refused {len(reasons)} events for good:" in finished.stderr
    for event in events:
        words = {"bad": "it is bad", "awful": "1 events with 1 awful"}.get(event.event.reason)
        assert (words is None) == (str(event.id) not in finished.stderr)
        assert words is None or f"{event.id}: {words}\n" in finished.stderr


def test_of_many_that_are_refused_the_first_are_named():
    kept("archive").write([make_event(reason="bad") for _ in range(23)])
    lines = audit("restore", "archive", "picky").stderr.splitlines()
    assert (len(lines), lines[-1]) == (22, "and 3 more.")


def test_damage_stops_it_with_a_sentence():
    finished = audit("restore", "failing", "memory")
    assert (finished.exit_code, finished.stderr) == (
        1,
        "Error: An object is damaged. Take an older version.\n",
    )
