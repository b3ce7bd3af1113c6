"""What every backend needs whose client library keeps connections."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A client of a store: made when it is first used, once in each process, for all of its threads.

    A forked child makes one of its own, because two processes on one connection would read each other's answers. Nor
    does it wait for a lock that a thread of its parent held at the fork, which nobody would ever give back.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], object]) -> None:
        self._make = make
        self._close = close
        self._made: tuple[int, T] | None = None  # by which process, and the client
        self._locks: dict[int, threading.Lock] = {}

    def get(self) -> T:
        """The client of this process; what making it raises is let through."""
        made = self._made
        if made is None or made[0] != os.getpid():
            with self._lock:
                made = self._made
                if made is None or made[0] != os.getpid():
                    made = self._made = os.getpid(), self._make()
        return made[1]

    def close(self) -> None:
        """Close the client, if this process has one; the next use makes another."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None and made[0] == os.getpid():
            self._close(made[1])

    @property
    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())
