"""Two sinks that outlive every kill, and fail as sinks do."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from pathlib import Path
from uuid import UUID

from audit_core.errors import PermanentError, RetryableError
from audit_core.event import RecordedEvent
from audit_core.relay.probe import Probe

POISON_ONE_IN = 25  # events
REFUSES = 0.7  # of the calls with such an event; a retry is taken in the end
OUTAGE_BEFORE, OUTAGE_AFTER = 0.05, 0.05  # of the calls


class Mood:
    """Why a call fails: an outage, an answer that got lost, or an event that is refused."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def before(self, events: Sequence[RecordedEvent]) -> None:
        """Raise for an outage, or for an event of ``events`` that is refused this time."""
        if self._chance.random() < OUTAGE_BEFORE:
            raise RetryableError("down")
        for event in events:
            if event.id.int % POISON_ONE_IN == 0 and self._chance.random() < REFUSES:
                raise PermanentError(f"{event.id} is refused")

    def after(self) -> None:
        """Raise although everything is stored."""
        if self._chance.random() < OUTAGE_AFTER:
            raise RetryableError("no answer")


class Calm(Mood):
    """Nothing fails."""

    def __init__(self) -> None:
        super().__init__(random.Random())

    def before(self, events: Sequence[RecordedEvent]) -> None:
        """Take them all."""

    def after(self) -> None:
        """Say so."""


class Archive:
    """A storage: a table in a database of its own, which keeps an event once, in the order of arrival."""

    INSERT = "INSERT INTO arrival (id) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM arrival WHERE id = ?1)"

    def __init__(self, path: Path, probe: Probe, mood: Mood) -> None:
        self._path = path
        self._probe = probe
        self._mood = mood

    def setup(self) -> None:
        """Create the table. It has no unique key: only ``INSERT`` keeps an event from being stored twice."""
        with closing(self._connect()) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("CREATE TABLE arrival (number INTEGER PRIMARY KEY, id TEXT NOT NULL)")
            database.execute("CREATE INDEX arrival_id ON arrival (id)")

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Store those of ``events`` that are not stored, all or none."""
        self._mood.before(events)
        with closing(self._connect()) as database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(self.INSERT, [(event.id.hex,) for event in events])
            self._probe("archive.before_commit")
            database.execute("COMMIT")
        self._probe("archive.after_commit")
        self._mood.after()

    def arrivals(self) -> list[UUID]:
        """What is stored, in the order of arrival."""
        with closing(self._connect()) as database:
            return [UUID(id_) for (id_,) in database.execute("SELECT id FROM arrival ORDER BY number")]

    def has(self, id_: UUID) -> bool:
        """Whether this event is stored."""
        with closing(self._connect()) as database:
            return bool(database.execute("SELECT 1 FROM arrival WHERE id = ?", [id_.hex]).fetchall())

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA synchronous = OFF")  # a killed process takes nothing from the system's cache
        return database


class EventStream:
    """A stream: one append-only file, in which an event may come again."""

    def __init__(self, path: Path, probe: Probe, mood: Mood) -> None:
        self._path = path
        self._probe = probe
        self._mood = mood

    def setup(self) -> None:
        """Create the file."""
        self._path.touch()

    def publish(self, events: Sequence[RecordedEvent]) -> None:
        """Append them all in one write, which no kill cuts in two."""
        self._mood.before(events)
        self._probe("events.before_append")
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, b"".join(event.id.hex.encode() + b"\n" for event in events))
        finally:
            os.close(fd)
        self._probe("events.after_append")
        self._mood.after()

    def arrivals(self) -> list[UUID]:
        """What was published, in order, repetitions included."""
        return [UUID(line) for line in self._path.read_text().splitlines()]

    def has(self, id_: UUID) -> bool:
        """Whether this event was published."""
        return id_.hex in self._path.read_text()


Sinks = dict[str, "Archive | EventStream"]


def sinks_in(folder: Path, probe: Probe, mood: Mood) -> Sinks:
    """The sinks of the run that uses this folder."""
    return {
        "archive": Archive(folder / "archive.sqlite3", probe, mood),
        "events": EventStream(folder / "events", probe, mood),
    }


def have(sinks: Sinks, id_: UUID) -> Collection[str]:
    """The names of the sinks that have this event."""
    return [name for name, sink in sinks.items() if sink.has(id_)]
