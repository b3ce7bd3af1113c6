"""The steps of a process, by name, and its death at one of them.

A step is a crash point of the relay or of a sink, or ``before`` or ``after`` an SQL statement or a COMMIT. The
statements are named as they come, such as ``before advance: UPDATE cursor``, so none can be forgotten.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

SINK_POINTS = (
    "archive.before_commit",
    "archive.after_commit",
    "events.before_append",
    "events.after_append",
)

_TABLE = re.compile(r"\b(?:audit_django|crash)_(\w+)")
_doing: ContextVar[str] = ContextVar("doing", default="")


@dataclass(frozen=True)
class Fate:
    """What happens to a process when it passes ``step`` for the ``passing``-th time."""

    step: str
    passing: int = 1
    signal: signal.Signals = signal.SIGKILL


class Journal:
    """What the processes tell: a file of lines ``PID WHAT TEXT``, which no death takes back."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._file = path.open()

    def write(self, what: str, text: str) -> None:
        """Add a line in the name of this process."""
        os.write(self._fd, f"{os.getpid()} {what} {' '.join(text.split())}\n".encode())

    def news(self) -> list[tuple[int, str, str]]:
        """The lines since the last call: pid, what and text."""
        lines = (line.rstrip("\n").split(" ", 2) for line in self._file)
        return [(int(pid), what, text) for pid, what, text in lines]


class Steps:
    """Called with the name of every step that this process reaches; ends it where its ``fate`` says."""

    def __init__(self, journal: Journal, fate: Fate | None) -> None:
        self._journal = journal
        self._fate = fate
        self._left = fate.passing if fate else 0
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._continued = threading.Event()
        signal.signal(signal.SIGCONT, lambda *_: self._continued.set())

    def __call__(self, step: str) -> None:
        with self._lock:
            if step not in self._seen:
                self._seen.add(step)
                self._journal.write("passes", step)
            if self._fate is None or self._fate.step != step:
                return
            self._left -= 1
            if self._left:
                return
        self._journal.write("ends", step)
        os.kill(os.getpid(), self._fate.signal)
        self._continued.wait()  # a stop reaches the other threads first; this one goes no further

    def watch_statements(self) -> None:
        """Pass a step before and after every statement and COMMIT of this process."""

        def watch(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
            if self._statement not in connection.execute_wrappers:
                connection.execute_wrappers.append(self._statement)

        connection_created.connect(watch, weak=False)
        commit = BaseDatabaseWrapper._commit

        def watched_commit(connection: BaseDatabaseWrapper) -> None:
            self._around("COMMIT", lambda: commit(connection))

        BaseDatabaseWrapper._commit = watched_commit

    def _statement(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        words = sql.split(None, 1)[0].upper()
        if table := _TABLE.search(sql):
            words += f" {table[1]}"
        return self._around(words, lambda: execute(sql, params, many, context))

    def _around(self, words: str, call: Callable[[], Any]) -> Any:
        name = f"{_doing.get()}: {words}"
        self(f"before {name}")
        result = call()
        self(f"after {name}")
        return result


@contextmanager
def doing(name: str) -> Generator[None]:
    """The statements in this block are called ``name``'s."""
    token = _doing.set(name)
    try:
        yield
    finally:
        _doing.reset(token)


class Named:
    """An object whose methods give the statements inside them their name."""

    def __init__(self, wrapped: object) -> None:
        self._wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._wrapped, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            with doing(name):
                return method(*args, **kwargs)

        return call
